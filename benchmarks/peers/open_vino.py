"""OpenVINO's CPU plugin, with both of its hints; inputs are bound once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from peers import BF16, Calls, Contestant, Task

HINTS: dict[str, dict[str, object]] = {
    "latency": {"PERFORMANCE_HINT": "LATENCY"},
    "throughput, 1 stream": {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": 1},
}


def calls(task: Task, who: Contestant) -> Calls:
    """Each hint's own compiled model."""
    vino: Any = importlib.import_module("openvino")
    core = vino.Core()
    if who.precision == BF16 and "BF16" not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise RuntimeError("OpenVINO has no bfloat16 on this CPU")
    model = core.read_model(task.onnx())
    common = {
        "INFERENCE_PRECISION_HINT": "bf16" if who.precision == BF16 else "f32",
        "INFERENCE_NUM_THREADS": task.threads,
    }
    arrays = task.arrays()

    def infer(hint: dict[str, object]) -> Callable[[], object]:
        request = core.compile_model(model, "CPU", {**common, **hint}).create_infer_request()
        for name, array in arrays.items():
            request.set_tensor(name, vino.Tensor(array))

        def call() -> object:
            request.infer()
            return request.get_output_tensor().data

        return call

    return {name: infer(hint) for name, hint in HINTS.items()}
