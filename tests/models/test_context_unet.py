"""ContextUnet against a transcription of the course's network, and its checkpoints."""

import math

import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.models.context_unet import ContextUnet, ContextUnetConfig
from fastdiff.pickled import load_course
from tests.models.course import ResidualConvBlock, random_course_net, zero


@pytest.fixture
def zero_shortcut(monkeypatch):
    monkeypatch.setattr(ResidualConvBlock, "draw", staticmethod(zero))


def save_pth(net, path):
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("in_channels", "n_feat", "n_cfeat", "height"),
    [(3, 64, 5, 16), (1, 16, 10, 28), (3, 8, 1, 20), (4, 8, 3, 24)],
)
def test_a_course_checkpoint_gives_the_course_output(
    in_channels, n_feat, n_cfeat, height, tmp_path, zero_shortcut
):
    net = random_course_net(in_channels, n_feat, n_cfeat, height)
    model = load_course(save_pth(net, tmp_path / "course.pth"))
    assert model.sample_shape == (in_channels, height, height)
    assert model.context_width == n_cfeat
    assert model.schedule == schedules.course()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, in_channels, height, height, generator=generator)
    t = torch.rand(5, 1, generator=generator)
    c = torch.rand(5, n_cfeat, generator=generator)
    with torch.inference_mode():
        # Float64 on both sides shows the same formula; float32 the same arithmetic.
        ours, theirs = model(x, t, c), net(x, t, c)
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
        assert torch.equal(model(x, t), model(x, t, torch.zeros_like(c)))
        model.module.double()
        net.double()
        ours = model(x.double(), t.double().squeeze(1), c.double())
        theirs = net(x.double(), t.double(), c.double())
    assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def test_the_course_net_is_random_even_in_eval_and_its_mean_is_the_zero_shortcut(tmp_path):
    # init_conv alone: the rest of the net is not linear, so only here is the mean exact.
    net = random_course_net(n_feat=8)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours = load_course(save_pth(net, tmp_path / "c.pth")).module.init_conv
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        draws = torch.stack([net.init_conv(x) for _ in range(4000)]).double()
        assert draws.std(0).max() > 0.1
        error = (draws.mean(0) - ours(x)).abs() / (draws.std(0) / math.sqrt(len(draws)))
    assert error.max() < 6  # standard errors, over 4,096 values


def test_keys_and_shapes_are_the_course_checkpoints_own_plus_the_shortcut(shared):
    lines = (shared / "weights" / "contextunet_keys.txt").read_text().splitlines()[1:]
    course = {}
    for line in lines:
        key, _, shape = line.partition(" ")
        if shape.startswith("("):
            course[key] = tuple(int(v) for v in shape.strip("()").split(",") if v.strip())
    assert len(course) == 156
    ours = {k: tuple(v.shape) for k, v in ContextUnet().state_dict().items()}
    extra = {"init_conv.shortcut.weight": (64, 3, 1, 1), "init_conv.shortcut.bias": (64,)}
    assert ours == {**course, **extra}


def test_parameters_of_the_courses_size():
    count = sum(p.numel() for p in ContextUnet().parameters())
    assert count == 1_480_771 + 64 * 3 + 64


@pytest.mark.parametrize("height", [4, 8, 12, 16, 20, 28, 32, 64])
def test_any_height_divisible_by_four(height):
    net = ContextUnet(ContextUnetConfig(n_feat=8, n_cfeat=2, height=height)).eval()
    x = torch.zeros(3, 3, height, height)
    with torch.inference_mode():
        assert net(x, torch.ones(3)).shape == x.shape


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"height": 18}, "height: expected a height divisible by 4, got 18"),
        ({"height": 0}, "height: expected an integer from 1 to 1024, got 0"),
        ({"height": 10**9}, "got 1000000000"),
        ({"n_feat": 60}, "n_feat: expected a multiple of 8, got 60"),
        ({"n_cfeat": 0}, "n_cfeat: expected an integer from 1"),
        ({"in_channels": 2.5}, "in_channels: expected an integer from 1 to 64, got 2.5"),
        ({"height": 16, "pool": 9}, "pool: expected a window that fits the 4x4"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(FastdiffError, match=message):
        ContextUnetConfig(**sizes)


class Evil:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"init_conv.conv1.0.weight": Evil()}, path)
    with pytest.raises(FastdiffError, match="holds more than weights, it was not run"):
        fastdiff.load(path)
    assert "code from a checkpoint ran" not in capsys.readouterr().out


def bytes_of(net, tmp_path):
    return save_pth(net, tmp_path / "whole.pth").read_bytes()


def test_damaged_and_foreign_pth_files_are_refused_in_one_line(tmp_path):
    whole = bytes_of(random_course_net(n_feat=8), tmp_path)
    path = tmp_path / "bad.pth"
    for content in (b"", b"\x80", whole[:1000], whole[: len(whole) // 2], whole[:-30], b"PK" * 100):
        path.write_bytes(content)
        with pytest.raises(FastdiffError, match=r"bad\.pth") as caught:
            fastdiff.load(path)
        assert "\n" not in str(caught.value)
    for content in ({}, {"a": torch.zeros(1)}, [1], torch.zeros(3)):
        torch.save(content, path)
        with pytest.raises(FastdiffError, match="is no ContextUnet checkpoint"):
            fastdiff.load(path)


def test_wrong_tensors_are_named(tmp_path):
    path = tmp_path / "bad.pth"
    state = random_course_net(n_feat=8).state_dict()
    for change, message in (
        ({"out.3.bias": None}, r"lacks the tensor out\.3\.bias"),
        ({"out.3.bias": torch.zeros(4)}, r"has out\.3\.bias as \[4\], expected \[3\]"),
        ({"out.3.bias": torch.full((3,), math.nan)}, r"values in out\.3\.bias that are not finite"),
        ({"more": torch.zeros(1)}, "a tensor that the model lacks: more"),
        ({"up0.0.weight": torch.zeros(16, 16, 0, 0)}, "height"),
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        torch.save(changed, path)
        with pytest.raises(FastdiffError, match=message):
            fastdiff.load(path)
