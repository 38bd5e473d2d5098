"""torch.compile with frozen weights, kernels chosen by measuring, and a C++ wrapper.

The wrapper spares each call the time of the Python one, which shows at batch 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._inductor import config as inductor

from peers import BF16, Calls, Contestant, Task, load_model
from peers.torch_eager import inputs

# Patched in around the first call: as an option of torch.compile the tracer does not see freezing.
SETTINGS: dict[str, dict[str, Any]] = {
    "max_autotune, cpp_wrapper": {"freezing": True, "max_autotune": True, "cpp_wrapper": True},
}


def calls(task: Task, who: Contestant) -> Calls:
    """Compiled here, for this batch alone."""
    torch.set_num_threads(task.threads)
    arguments = inputs(task)
    return {
        name: _compiled(task.suite, options, arguments, who) for name, options in SETTINGS.items()
    }


def _compiled(
    suite: str, options: dict[str, Any], arguments: list[torch.Tensor], who: Contestant
) -> Any:
    torch._dynamo.reset()
    module = load_model(suite).module.eval().requires_grad_(False)
    run: Any = torch.compile(module, dynamic=False)
    reduced = who.precision == BF16

    def call() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            return run(*arguments).float()

    with inductor.patch(options):
        call()
    return call
