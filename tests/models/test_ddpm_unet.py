"""DDPMUnet against diffusers' UNet2DModel, from the folders that diffusers writes."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

import fastdiff
from fastdiff import FastdiffError, schedules
from fastdiff.models.ddpm_unet import CONFIGURATIONS, DDPMUnet, DDPMUnetConfig
from fastdiff.models.diffusers_unet import load_diffusers, schedule_of, sizes_of

# google/ddpm-cifar10-32's published config.json.
CIFAR10 = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [128, 256, 256, 256],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 0,
    "act_fn": "silu",
    "attention_head_dim": None,
    "norm_num_groups": 32,
    "norm_eps": 1e-6,
}
SMALL = {
    "sample_size": 16,
    "block_out_channels": [16, 32],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 8,
    "layers_per_block": 1,
}
CONFIGS = {
    "cifar10": CIFAR10,
    "mnist 28x28 with classes": {
        **SMALL,
        "sample_size": 28,
        "in_channels": 1,
        "out_channels": 1,
        "num_class_embeds": 10,
        "resnet_time_scale_shift": "scale_shift",
    },
    "oblong, three levels": {
        "sample_size": [8, 24],
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [8, 16, 24],
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        "norm_num_groups": 4,
        "layers_per_block": 3,
        "freq_shift": 1,
    },
    "no attention": {
        **SMALL,
        "down_block_types": ["DownBlock2D"] * 2,
        "up_block_types": ["UpBlock2D"] * 2,
        "add_attention": False,
        "downsample_padding": 0,
        "dropout": 0.3,
    },
    "six levels for 256 pixels": {
        "sample_size": 64,
        "block_out_channels": [8, 8, 16, 16, 24, 24],
        "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
        "norm_num_groups": 8,
        "attention_head_dim": 8,
    },
}


def theirs(config, seed=0):
    """diffusers' network with random weights, norms and biases among them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = diffusers.UNet2DModel(**config).eval()
        for parameter in net.parameters():
            if parameter.dim() == 1:
                parameter.data += 0.2 * torch.randn(parameter.shape)
    return net


@pytest.mark.parametrize("name", CONFIGS)
def test_a_diffusers_folder_gives_the_output_of_diffusers(name, tmp_path):
    net = theirs(CONFIGS[name])
    net.save_pretrained(tmp_path / "unet")
    model = fastdiff.load(tmp_path / "unet")
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, *model.sample_shape, generator=generator)
    t = torch.tensor([0.0, 17.0, 999.0])
    classes = torch.tensor([3, 0, 9])
    labels, context = (classes,), torch.nn.functional.one_hot(classes, 10).float()
    given = (context,) if model.context_width else ()
    with torch.inference_mode():
        expected = net(x, t, *(labels if given else ())).sample
        assert (model.module(x, t, *given) - expected).abs().max() <= 1e-5 * expected.abs().max()
        # In float64 only the embedding's frequencies are rounded, and alike.
        expected = net.double()(x.double(), t, *(labels if given else ())).sample
        got = model.module.double()(x.double(), t.double(), *(c.double() for c in given))
    # diffusers computes the time's angles in float32 whatever the network is.
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


# google/ddpm-celebahq-256's published config.json, where it differs.
CELEBAHQ = {
    **CIFAR10,
    "sample_size": 256,
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
}


@pytest.mark.parametrize(
    ("name", "config", "parameters"),
    [("cifar10-32", CIFAR10, 35_746_307), ("celebahq-256", CELEBAHQ, 113_673_219)],
)
def test_the_configurations_are_the_published_ones(name, config, parameters):
    assert DDPMUnetConfig(**sizes_of(config)) == dataclasses.replace(
        CONFIGURATIONS[name], out_channels=3
    )
    with torch.device("meta"):
        ours, net = DDPMUnet(CONFIGURATIONS[name]), diffusers.UNet2DModel(**config)
    assert sum(p.numel() for p in ours.parameters()) == parameters
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


def test_28_by_28_has_its_size_and_shape():
    config = CONFIGURATIONS["mnist-28"]
    net = DDPMUnet(config).eval()
    assert sum(p.numel() for p in net.parameters()) == 3_689_537
    with torch.inference_mode():
        assert net(torch.zeros(2, 1, 28, 28), torch.zeros(2)).shape == (2, 1, 28, 28)


def test_zeros_are_no_class():
    sizes = {"channels": (8, 16), "attention": (False, True), "groups": 4, "height": 8, "width": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = DDPMUnet(DDPMUnetConfig(n_context=3, **sizes)).eval()
        x, t = torch.randn(2, 3, 8, 8), torch.tensor([5.0, 900.0])
    with torch.inference_mode():
        assert torch.equal(net(x, t), net(x, t, torch.zeros(2, 3)))
        assert not torch.allclose(net(x, t), net(x, t, torch.eye(3)[:2]))


def test_older_files_name_attention_otherwise(tmp_path):
    net = theirs(SMALL)
    net.save_pretrained(tmp_path)
    expected = load_diffusers(tmp_path).module.state_dict()
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    former = {
        ".to_q.": ".query.",
        ".to_k.": ".key.",
        ".to_v.": ".value.",
        ".to_out.0.": ".proj_attn.",
    }
    tensors = {}
    for key, value in load_file(path).items():
        name = key
        for now, before in former.items():
            name = name.replace(now, before)
        tensors[name] = value
    save_file(tensors, path)
    got = load_diffusers(tmp_path).module.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[key], value) for key, value in expected.items())


def test_a_pipeline_brings_its_schedule(tmp_path):
    theirs(SMALL).save_pretrained(tmp_path / "unet")
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=200, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )
    scheduler.save_pretrained(tmp_path / "scheduler")
    model = fastdiff.load(tmp_path)
    assert model.schedule == schedules.Schedule("cosine", T=200, prediction="v")
    theirs_alpha_bar = scheduler.alphas_cumprod.double().numpy()
    np.testing.assert_allclose(model.levels.alpha_bar[1:], theirs_alpha_bar, rtol=1e-4, atol=1e-6)
    assert model.name == tmp_path.name
    assert fastdiff.load(tmp_path / "unet").schedule == model.schedule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "expected a UNet2DModel"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type: expected 'positional'"),
        ({"down_block_types": ["SkipDownBlock2D"] * 2}, "down_block_types: expected 2 of"),
        ({"up_block_types": ["UpBlock2D"] * 2}, "up_block_types: expected attention at"),
        ({"downsample_type": "resnet"}, "downsample_type: expected 'conv', got 'resnet'"),
        ({"sample_size": None}, "sample_size: expected the images' height and width"),
        ({"time_embedding_dim": 7}, "time_embedding_dim: expected 64, got 7"),
        ({"block_out_channels": [16, 40]}, "has .* expected"),
    ],
)
def test_what_a_ddpm_unet_lacks_is_named(change, message, tmp_path):
    theirs(SMALL).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FastdiffError, match=message):
        fastdiff.load(tmp_path)


def test_damaged_folders_are_refused(tmp_path):
    with pytest.raises(
        FastdiffError, match=r"or a folder of diffusers' with its config\.json, got"
    ):
        fastdiff.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FastdiffError, match="not readable JSON"):
        fastdiff.load(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel", "sample_size": 32}')
    with pytest.raises(FastdiffError, match="got neither"):
        load_diffusers(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(FastdiffError, match="not a whole safetensors file"):
        load_diffusers(tmp_path)
    with pytest.raises(FastdiffError, match="beta_schedule: expected linear"):
        schedule_of({"beta_schedule": "laplace"})


def test_our_own_checkpoint_keeps_it(tmp_path):
    theirs(CONFIGS["oblong, three levels"]).save_pretrained(tmp_path)
    model = fastdiff.load(tmp_path)
    fastdiff.save(model, tmp_path / "m.safetensors", half=False)
    back = fastdiff.load(tmp_path / "m.safetensors")
    assert back.module.config == model.module.config
    for key, value in model.module.state_dict().items():
        assert torch.equal(back.module.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (12, 32)}, "channels: expected a multiple of 8, got 12"),
        ({"channels": ()}, "channels: expected 1 to 8 levels, got 0"),
        ({"attention": (True,)}, "attention: expected 2 levels, got 1"),
        ({"height": 31}, "height: expected a multiple of 2, got 31"),
        ({"width": 0}, "width: expected an integer from 1 to 1024, got 0"),
        ({"head_width": 5}, "expected a multiple of 5, got 32"),
        ({"dropout": 1.0}, "dropout: expected 0 <= dropout < 1, got 1.0"),
        ({"eps": 0.0}, "eps: expected a positive number, got 0.0"),
        ({"down_padding": 2}, "down_padding: expected an integer from 0 to 1, got 2"),
        ({"blocks": True}, "blocks: expected an integer from 1 to 16, got True"),
    ],
)
def test_sizes_that_make_no_network_are_refused(change, message):
    sizes = {"channels": (16, 32), "attention": (False, True), "groups": 8}
    with pytest.raises(FastdiffError, match=message):
        DDPMUnetConfig(**{**sizes, **change})
