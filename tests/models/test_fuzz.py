"""Damaged files of every kind that we read end in a FastdiffError, or load: nothing else."""

import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastdiff
from fastdiff import FastdiffError, noise
from fastdiff.data.dataset import load_images
from fastdiff.models.registry import build
from tests.models.course import random_course_net
from tests.models.gated import published


def originals(model, folder):
    """(file name, bytes, reader) of a good file of each kind."""
    fastdiff.save(model, folder / "good.safetensors")
    torch.save(random_course_net(n_feat=8, n_cfeat=2).state_dict(), folder / "good.pth")
    gated = build("gated_pixelcnn", {"hidden": 4, "levels": 4}, None).module
    torch.save({"state_dict": published(gated.state_dict(), 7)}, folder / "good.ckpt")
    x = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    for save, name in ((np.savez, "good.npz"), (np.savez_compressed, "packed.npz")):
        save(folder / name, x=x, label=np.array([0, 1]), labels=np.array(["a", "b"]))
    np.save(folder / "good.npy", x)
    idx = b"\0\0\x08\x03" + struct.pack(">3I", 2, 8, 8) + x[..., 0].tobytes()
    (folder / "good-images-idx3-ubyte").write_bytes(idx)
    for path in sorted(folder.iterdir()):
        reader = fastdiff.load if path.suffix in (".safetensors", ".pth", ".ckpt") else load_images
        yield path, path.read_bytes(), reader


def damage(content, seed):
    """A few bytes changed, a piece cut out or doubled, or the end cut off: fixed by the seed."""
    u = noise.uniform(noise.as_seeds(seed, 1), 0, noise.STREAM_TRAIN, 16)[0].astype(float)
    data = bytearray(content)
    # Headers matter more than payload: half of the places lie in the first or last kilobyte.
    span = len(data) if u[0] < 0.5 else min(len(data), 1024)
    at = min(int(u[1] * span), len(data) - 1)
    if u[2] < 0.3:
        at = len(data) - 1 - at
    kind, size = int(u[3] * 4), 1 + int(u[4] * 40)
    if kind == 0:
        for k in range(1 + int(u[5] * 4)):
            data[(at + 7 * k) % len(data)] = int(u[6 + k] * 255)
    elif kind == 1:
        del data[at : at + size]
    elif kind == 2:
        data[at:at] = data[at : at + size]
    else:
        del data[at:]
    return bytes(data)


def fuzz(model, folder, rounds):
    refused = 0
    for path, content, reader in list(originals(model, folder)):
        reader(path)
        for seed in range(rounds):
            path.write_bytes(damage(content, seed))
            try:
                reader(path)
            except FastdiffError as error:
                message = str(error)
                refused += 1
            except Exception as error:
                raise AssertionError(f"{path.name}, seed {seed}: {error!r}") from error
            else:
                continue
            assert str(path) in message
            assert "\n" not in message
        path.write_bytes(content)
    return refused


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused(tiny_model, tmp_path):
    assert fuzz(tiny_model, tmp_path, rounds=40) > 100


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused_at_length(tiny_model, tmp_path):
    assert fuzz(tiny_model, tmp_path, rounds=4000) > 10_000
