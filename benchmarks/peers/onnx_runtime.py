"""ONNX Runtime's CPU provider: all graph optimisations, among them its blocked-channel layout.

It has no bfloat16 convolution and no switch for the instruction set.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np

from peers import Calls, Contestant, Float32Array, Task


def calls(task: Task, _: Contestant) -> Calls:
    """A plain run, and one with inputs and output bound once."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = True
    session = ort.InferenceSession(str(task.onnx()), options, providers=["CPUExecutionProvider"])
    feed = task.arrays()
    out = np.empty_like(feed["x"])
    bound = session.io_binding()
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feed.items()}
    for name, value in values.items():
        bound.bind_ortvalue_input(name, value)
    values["m"] = ort.OrtValue.ortvalue_from_numpy(out)
    bound.bind_ortvalue_output("m", values["m"])

    def run_bound() -> Float32Array:
        session.run_with_iobinding(bound)
        assert values  # kept: the binding does not own the arrays
        return out

    run = partial(session.run, ["m"], feed)
    return {"plain": lambda: run()[0], "bound": run_bound}
