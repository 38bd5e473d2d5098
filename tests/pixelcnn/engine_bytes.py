"""Programs that were written op by op (``nets.py``), as engine files."""

import numpy as np

from fastdiff.pixelcnn.dependencies import analyse
from fastdiff.program.binding import split
from fastdiff.program.engine_file import autoregressive_bytes
from fastdiff.program.ir import BATCH, Node, Program, Value


def of_request(program):
    """The inputs that the request makes, each [B, ...], and their numbers in all."""
    names = [name for name in program.inputs if name != "x"]
    return names, sum(int(np.prod(program.values[name].shape[1:])) for name in names)


def with_context(program):
    """The program with one input ``context``, cut into what it had for inputs beside x."""
    names, width = of_request(program)
    if not names:
        return program
    values, nodes, start = {**program.values, "context": Value((BATCH, width))}, [], 0
    for name in names:
        count = int(np.prod(program.values[name].shape[1:]))
        cut = {"dim": 1, "start": start, "stop": start + count, "step": 1}
        values[f"{name} cut"] = Value((BATCH, count))
        nodes.append(Node("slice", ("context",), f"{name} cut", cut, "net"))
        shape = {"shape": program.values[name].shape}
        nodes.append(Node("reshape", (f"{name} cut",), name, shape, "net"))
        start += count
    return Program(
        program.name, ("x", "context"), program.outputs, values, program.constants,
        (*nodes, *program.nodes),
    ).check()  # fmt: skip


def bytes_of(program):
    """The engine file of a program whose x is 2 level / (levels - 1) - 1."""
    _, levels, *sizes = program.values[program.outputs[0]].shape
    return autoregressive_bytes(
        split(with_context(program)), name=program.name, sample_shape=sizes, levels=levels,
        input_scale=2 / (levels - 1), input_shift=-1.0, context_width=of_request(program)[1],
        labels=(),
    )  # fmt: skip


def context_of(program, fixed):
    """The context that makes the fixed values: float32 [n, width], or None for none."""
    names, width = of_request(program)
    if not width:
        return None
    rows = [fixed[name].numpy().reshape(len(fixed[name]), -1) for name in names]
    return np.concatenate(rows, axis=1).astype(np.float32)


def subtimes_of(program, slope):
    """How many steps the wavefront of a slope takes, by Python's analysis."""
    return len(analyse(program).at(slope).subtimes)
