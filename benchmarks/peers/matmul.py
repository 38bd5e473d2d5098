"""What a matrix product reaches here: the ceiling that convolutions without tricks are held to.

Equal FLOPs (``MATMUL_FLOPS``) as torch.mm of a cube and of a convolution's shape, and as a 1x1
convolution: MKL's and oneDNN's products. The fastest counts.
"""

from __future__ import annotations

from functools import partial

import torch

from peers import BF16, Calls, Contestant, Task

SHAPES = ((1024, 1024, 1024), (4096, 512, 512))  # rows, inner, columns


def calls(task: Task, who: Contestant) -> Calls:
    """A product into an array that is there."""
    torch.set_num_threads(task.threads)
    dtype = torch.bfloat16 if who.precision == BF16 else torch.float32
    found: Calls = {}
    for m, k, n in SHAPES:
        a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
        found[f"{m}x{k}x{n}"] = partial(torch.mm, a, b, out=torch.empty(m, n, dtype=dtype))
    rows, inner, columns = SHAPES[-1]
    image = torch.randn(rows // 256, inner, 16, 16, dtype=dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(columns, inner, 1, 1, dtype=dtype)
    found["1x1 convolution"] = partial(torch.conv2d, image, weight)
    return found
