"""Two processes under torchrun against one: the same batches, gradients, stop, errors."""

import json
import os
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.cli.main import main
from fastdiff.train.config import TrainConfig
from fastdiff.train.denoising import Batches
from fastdiff.train.distributed import ENVIRONMENT, Group, Ranks, joined
from fastdiff.train.ema import Ema
from fastdiff.train.loop import objective_of
from tests.conftest import ROOT
from tests.train.two_ranks import CONFIG, KINDS, STEPS, images_of, model_of, train, trainer


def torchrun(*args, code=0):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run(
        [*command, "--nproc-per-node", "2", "-m", *map(str, args)],
        capture_output=True, text=True, check=False, env=env, cwd=ROOT, timeout=600,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks found, and their tensors."""
    out = tmp_path_factory.mktemp("ranks")
    torchrun("tests.train.two_ranks", out)
    return [
        (json.loads((out / f"{r}.json").read_text()), load_file(out / f"{r}.safetensors"))
        for r in (0, 1)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_shares_make_up_the_batch(kind):
    """Every slot is some rank's, just as it is without the others, dropped contexts included."""
    config = TrainConfig(steps=1, batch_size=12, drop=0.5, flip=True, seed=2)

    def batches(share):
        return objective_of(model_of(kind), images_of(kind), config, share).batches

    shares = [batches(slice(rank, None, 3)) for rank in range(3)]
    for step in (4, 0):
        whole = batches(slice(None))(step)
        parts = [share(step) for share in shares]
        assert 0 < (whole.context.sum(1) == 0).sum() < 12
        for name in (f.name for f in fields(whole)):
            value = getattr(whole, name)
            mine = [getattr(part, name) for part in parts]
            assert torch.equal(torch.stack(mine, 1).flatten(0, 1), value), name


def test_every_rank_sees_all_levels():
    """Slots have levels in order, and a batch norm sees its own rank's alone."""
    config = TrainConfig(steps=1, batch_size=20)
    for rank in range(4):
        batch = Batches(images_of("context_unet"), schedules.course(), config, slice(rank, None, 4))
        level = (batch(0).t * 500).round().long().numpy()
        np.testing.assert_array_equal((level - 1) * 5 // 500, np.arange(5))


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_train_as_one_process_does(kind, ranks, tmp_path):
    one = trainer(kind, tmp_path)
    losses, norms, gradients = train(one)
    (first, ours), (second, theirs) = ranks
    assert ours.keys() == theirs.keys()
    for key in ours:
        if "running" not in key and "batches_tracked" not in key:
            assert torch.equal(ours[key], theirs[key]), key
    for name, expected in (("losses", losses), ("norms", norms)):
        assert first[f"{kind} {name}"] == second[f"{kind} {name}"]
        np.testing.assert_allclose(first[f"{kind} {name}"], expected, rtol=1e-5)
    assert gradients
    for key, value in gradients.items():
        error = float((ours[f"{kind} gradient {key}"] - value).abs().max())
        assert error <= 3e-6 * float(value.abs().max()) + 1e-8 * max(norms), key
    # Adam divides by the gradient: where that is rounding alone, so is the step's sign.
    moved = CONFIG.lr * STEPS
    weights = one.module.state_dict()
    apart = [(ours[f"{kind} weight {k}"].double() - v).abs().flatten() for k, v in weights.items()]
    assert float(torch.cat(apart).max()) <= 2 * moved
    assert float((torch.cat(apart) > 0.01 * moved).double().mean()) < 0.01


def test_one_ranks_signal_stops_both_at_the_same_step(ranks):
    assert [found["stopped"] for found, _ in ranks] == [STEPS, STEPS]
    assert [found["resumed"] for found, _ in ranks] == [STEPS, STEPS]


def test_what_one_rank_does_wrong_all_say(ranks):
    for found, _ in ranks:
        assert "the loss became nan at step 1" in found["nan"]
        assert found["divisible"] == "batch_size: expected a multiple of the 2 ranks, got 7"
        assert found["folders"] == (
            "resume: expected one --out that all ranks see, they found steps [3, 4] there"
        )


def test_a_rank_that_is_left_alone_says_so(ranks):
    lost = ranks[0][0]["lost"]
    assert lost.startswith("ranks: rank 0 of 2 lost the others (")
    assert len(lost.splitlines()) == 1
    assert lost.endswith("see what the one that failed has said")


def test_torchrun_trains_and_one_process_goes_on(tmp_path, capsys):
    images = images_of("context_unet")
    data = tmp_path / "data.npz"
    np.savez(data, x=images.x, label=np.arange(40) % 3, labels=list(images.labels))
    common = ["train", "--data", data, "--out", tmp_path / "run", "--n-feat", 8, "--batch-size", 6,
              "--sample-every", 0, "--quiet"]  # fmt: skip
    done = torchrun("fastdiff", *common, "--steps", 2)
    assert done.stdout.splitlines() == [f"trained step 2: {tmp_path}/run/model.safetensors"]
    assert main([str(a) for a in [*common, "--steps", 3, "--resume"]]) == 0
    assert "resuming at step 2" in capsys.readouterr().out
    assert fastdiff.load(tmp_path / "run" / "model.safetensors").labels == images.labels


def test_a_process_by_itself_is_asked_nothing(monkeypatch):
    for key in ENVIRONMENT:
        monkeypatch.delenv(key, raising=False)
    with joined("cpu") as alone:
        assert type(alone) is Ranks
        assert (alone.first, alone.size, alone.device("cuda:1")) == (True, 1, "cuda:1")
        assert list(range(5))[alone.share(5)] == list(range(5))
        assert alone.mean(2.5) == 2.5
        assert [alone.any(flag) for flag in (False, True)] == [False, True]


def test_norms_of_gpus_are_exchanged_under_the_same_names():
    """The exchange alone: what it computes needs GPUs."""
    from torch.nn import BatchNorm2d, SyncBatchNorm

    group = Group(0, 2, 1, cuda=True)
    assert group.device("cuda") == "cuda:1"
    module = model_of("context_unet").module
    plain = {k: v.clone() for k, v in module.state_dict().items()}
    kept = dict(module.named_parameters())
    ema = Ema(module, 0.5)
    synced = group.prepare(module)
    kinds = {type(m) for m in synced.modules()}
    assert SyncBatchNorm in kinds
    assert BatchNorm2d not in kinds
    assert BatchNorm2d in {type(m) for m in ema.module.modules()}, "rank 0 runs it alone"
    assert list(synced.state_dict()) == list(plain)
    assert all(p is kept[k] for k, p in synced.named_parameters())
    assert synced.config == module.config
    with torch.no_grad():
        for p in synced.parameters():
            p.add_(1.0)
    ema.update(synced, 100)
    for key, p in ema.module.named_parameters():
        assert torch.allclose(p, plain[key] + 0.5), key
    unsynced = model_of("context_unet").module
    assert Group(0, 2, 1, cuda=False).prepare(unsynced) is unsynced
    assert SyncBatchNorm not in {type(m) for m in unsynced.modules()}


def test_a_gpu_is_chosen_by_the_rank_alone(monkeypatch):
    for key in ENVIRONMENT:
        monkeypatch.setenv(key, "0")
    with (
        pytest.raises(FastdiffError, match="device: expected 'cuda' under torchrun, got 'cuda:1'"),
        joined("cuda:1"),
    ):
        pass
