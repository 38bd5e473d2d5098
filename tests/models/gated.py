"""The keys that the published gated PixelCNN goes by."""

from __future__ import annotations

import torch


def published(state, layers, junk=0.0):
    """Our keys as the published ones, with masks, and junk where they hide."""
    masks = {
        "conv_vstack": [[1, 1, 1], [0, 0, 0], [0, 0, 0]],
        "conv_hstack": [[1, 0, 0]],
        **{f"conv_layers.{k}.conv_vert": [[1, 1, 1], [1, 1, 1], [0, 0, 0]] for k in range(layers)},
        **{f"conv_layers.{k}.conv_horiz": [[1, 1, 0]] for k in range(layers)},
    }
    found = dict(state)
    for name, rows in masks.items():
        weight = found.pop(name + ".weight")
        mask = torch.tensor(rows, dtype=weight.dtype)[None, None]
        found |= {f"{name}.mask": mask, f"{name}.conv.bias": found.pop(name + ".bias")}
        found[f"{name}.conv.weight"] = weight + junk * (1 - mask)
    return found
