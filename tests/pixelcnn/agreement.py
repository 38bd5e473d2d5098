"""Whether levels are those that the naive loop draws, but for choices that rounding decides.

Where all logits of a causal network are of the levels that were drawn, each choice can be judged by
itself: if every one is what the CDF says, the levels are the loop's, by induction over the pixels.
"""

import numpy as np
import torch

from fastdiff import noise
from fastdiff.pixelcnn.naive import choose, sample_naive

TIE = 1e-6  # between u and an edge of the CDF: float32 tells no closer


def rounding(model, exact, levels, context=None):
    """What eager's float32 leaves unsaid about the CDF's edges: twice its error against float64
    that one choice in a hundred exceeds; never under ``TIE``.

    A trained network can magnify its rounding: no two orders of summing then agree to 1e-6.
    """
    x = model.input_of(torch.from_numpy(levels.astype(np.int64)))
    with torch.inference_mode():
        edges = [m(x, context).double().softmax(dim=1).cumsum(dim=1) for m in (model, exact)]
    errors = (edges[0] - edges[1]).abs().amax(dim=1)
    return max(TIE, 2 * float(np.quantile(errors.numpy(), 0.99)))


def judge(
    model, seeds, levels, context=None, temperature=1.0, top_k=None, kept=None, most=3, tie=TIE
):
    """Which images hold a tie, bool [n]; fails where a choice is another and no tie, or with more
    than ``most`` ties.

    ``model``: in float64. ``levels``: [n, C, H, W]. ``kept``: bool, broadcast to it, of what was
    not drawn. ``tie``: how near to an edge u is one.
    """
    keys, drawn = noise.as_seeds(seeds), torch.from_numpy(levels.astype(np.int64))
    with torch.inference_mode():
        logits = model(model.input_of(drawn), context).permute(0, 3, 4, 2, 1)  # [n, H, W, C, L]
    u = noise.uniform(keys, 0, noise.STREAM_CHOICE, drawn[0].numel()).ravel()
    rows = logits.reshape(len(u), model.levels)
    n, H, W, C = logits.shape[:4]
    expected, margin = (
        values.reshape(n, H, W, C).transpose(0, 3, 1, 2)
        for values in (choose(rows, u, temperature, top_k), _margin(rows, u, temperature, top_k))
    )
    other = levels != expected
    if kept is not None:
        other &= ~np.broadcast_to(kept, levels.shape)
    tied = other & (margin <= tie)
    wrong = np.argwhere(other & ~tied)
    assert not len(wrong), (
        f"{len(wrong)} of {other.size} choices differ besides {tied.sum()} ties; the first at "
        f"{wrong[0].tolist()}, {margin[tuple(wrong[0])]:.2g} from the CDF's nearest edge"
    )
    assert tied.sum() <= most, f"{tied.sum()} ties of {other.size} choices"
    return tied.any(axis=(1, 2, 3))


def check_naive(model, seeds, levels, context=None, given=None, kept=None, **rule):
    """Fails where ``levels`` are not the naive loop's, but for images with ties (``judge``).

    ``model``: in float64. ``given``, ``kept``: levels that stay, and where, bool [H, W].
    """
    tied = judge(model, seeds, levels, context, kept=kept, **rule)
    pixels = np.zeros(levels.shape[2:], dtype=bool) if kept is None else kept
    expected = sample_naive(model, seeds, context, given=given, given_rows=pixels, **rule)
    assert (levels[~tied] == expected[~tied]).all(), f"{tied.sum()} images with ties left out"


def _margin(logits, u, temperature, top_k):
    """How far u is from the CDF's nearest edge, or 0 where the k-th level is hard to tell."""
    scaled = logits.double() / temperature
    near = torch.zeros(len(scaled), dtype=torch.bool)
    if top_k is not None and top_k < scaled.shape[1]:
        largest = scaled.topk(top_k + 1, dim=1).values
        near = largest[:, -2] - largest[:, -1] < TIE
        scaled = scaled.masked_fill(scaled < largest[:, -2:-1], -torch.inf)
    edges = scaled.softmax(dim=1).cumsum(dim=1)
    margin = (edges - torch.from_numpy(u)[:, None]).abs().amin(dim=1)
    return margin.masked_fill(near, 0.0).numpy()
