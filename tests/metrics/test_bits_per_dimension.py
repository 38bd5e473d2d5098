"""Bits per dimension, against its definition in Python floats."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastdiff import FastdiffError
from fastdiff.data.dataset import ImageSet
from fastdiff.metrics.bits_per_dimension import bits_per_dimension
from fastdiff.models.registry import build

RNG = np.random.default_rng(0)


def model_of(**sizes):
    torch.manual_seed(1)
    sizes = {"height": 4, "width": 3, "levels": 8, "hidden": 6, "blocks": 1, **sizes}
    model = build("pixelcnn", sizes, None)
    model.module.eval()
    return model


@pytest.mark.parametrize(("colours", "levels", "width"), [(1, 8, 0), (3, 256, 0), (3, 5, 2)])
def test_it_is_its_definition(colours, levels, width):
    model = model_of(in_channels=colours, levels=levels, n_context=width)
    x = RNG.integers(0, 256, (7, 4, 3, colours), dtype=np.uint8)
    context = RNG.random((7, width)).astype(np.float32)
    told = []
    found = bits_per_dimension(model, ImageSet(x, context), batch_size=3, progress=told.append)
    assert told == [3, 3, 1]
    model.module.double()
    each = []
    for image, row in zip(x, context, strict=True):
        level = [[[int(image[i, j, c]) * levels // 256 for j in range(3)] for i in range(4)]
                 for c in range(colours)]  # fmt: skip
        t = torch.tensor([level], dtype=torch.float64) / (levels - 1)
        args = (torch.tensor(row[None], dtype=torch.float64),) if width else ()
        with torch.inference_mode():
            logits = model.module(t, *args)[0].tolist()
        bits = 0.0
        for c in range(colours):
            for i in range(4):
                for j in range(3):
                    of = [logits[k][c][i][j] for k in range(levels)]
                    total = math.fsum(math.exp(v) for v in of)
                    bits -= math.log2(math.exp(of[level[c][i][j]]) / total)
        each.append(bits / (colours * 12))
    assert found.images == 7
    assert found.mean == pytest.approx(np.mean(each), rel=1e-5)
    assert found.standard_error == pytest.approx(np.std(each, ddof=1) / math.sqrt(7), rel=1e-4)
    assert str(found) == f"{found.mean:.4f} ± {found.standard_error:.4f}"


def test_a_model_that_knows_nothing_pays_all_bits():
    model = model_of(levels=16)
    with torch.no_grad():
        model.module.out.weight.zero_()
        model.module.out.bias.zero_()
    x = RNG.integers(0, 256, (5, 4, 3, 1), dtype=np.uint8)
    found = bits_per_dimension(model, ImageSet(x, np.zeros((5, 0), np.float32)))
    assert found.mean == pytest.approx(4.0)
    assert found.standard_error == pytest.approx(0.0, abs=1e-6)


def test_images_without_classes_are_judged_unconditionally():
    model = model_of(n_context=2)
    x = RNG.integers(0, 256, (5, 4, 3, 1), dtype=np.uint8)
    none = bits_per_dimension(model, ImageSet(x, np.zeros((5, 0), np.float32)))
    zeros = bits_per_dimension(model, ImageSet(x, np.zeros((5, 2), np.float32)))
    ones = bits_per_dimension(model, ImageSet(x, np.ones((5, 2), np.float32)))
    assert none == zeros != ones


def test_wrong_arguments_are_named():
    model = model_of()
    x = np.zeros((2, 4, 3, 1), np.uint8)
    none = np.zeros((2, 0), np.float32)
    with pytest.raises(FastdiffError, match=r"at least one of \[4, 3, 1\], got \[2, 3, 4, 1\]"):
        bits_per_dimension(model, ImageSet(x.transpose(0, 2, 1, 3), none))
    with pytest.raises(FastdiffError, match="at least one"):
        bits_per_dimension(model, ImageSet(x[:0], none[:0]))
    with pytest.raises(FastdiffError, match="a context of width 0, got 3"):
        bits_per_dimension(model, ImageSet(x, np.zeros((2, 3), np.float32)))
    with pytest.raises(FastdiffError, match="batch_size: expected at least 1, got 0"):
        bits_per_dimension(model, ImageSet(x, none), batch_size=0)
    model.module.train()
    with pytest.raises(FastdiffError, match="expected its module in eval mode"):
        bits_per_dimension(model, ImageSet(x, none))
