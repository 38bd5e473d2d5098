"""What gpu.py measures: contestants for a network's step, for kernels by themselves and for
PixelCNN."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastdiff import DiffusionModel

ROWS = 50
DTYPES = ("float32", "tf32", "bfloat16")
MODES = ("default", "reduce-overhead", "max-autotune")
MATMUL = 4096  # n of the product of two n x n matrices
Calls = dict[str, Callable[[], object]]
Facts = dict[str, dict[str, Any]]


def driver() -> int:
    """The newest CUDA that the driver supports, 13000 for 13.0."""
    import torch

    return int(torch._C._cuda_getDriverVersion())


def _precision(dtype: str) -> None:
    import torch

    mode = "ieee" if dtype == "float32" else "tf32"
    for place in (torch.backends.cudnn.conv, torch.backends.cuda.matmul):
        place.fp32_precision = mode


def step_contestants(
    model: DiffusionModel, batch: int, dtype: str, say: Callable[[str], None]
) -> tuple[Calls, dict[str, int], Facts]:
    """By name: a call, how many steps it makes (1 unless said), and facts for the file."""
    import torch
    from gpu_networks import inputs

    import fastdiff

    _precision(dtype)
    reduced = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    module = copy.deepcopy(model.module).eval().requires_grad_(False).cuda()
    x, *rest = inputs(model, batch, "cuda")
    calls: Calls = {}
    steps: dict[str, int] = {}
    facts: Facts = {}

    def peer(name: str, network: Any, images: Any) -> None:
        def call() -> object:
            with torch.inference_mode(), torch.autocast("cuda", reduced, reduced != torch.float32):
                return network(images, *rest)

        try:
            call()
            call()
        except Exception as error:
            say(f"without {name}, batch {batch}, {dtype}: {str(error).splitlines()[0]}")
            return
        calls[name] = call

    last = copy.deepcopy(module).to(memory_format=torch.channels_last)
    x_last = x.contiguous(memory_format=torch.channels_last)
    peer("eager", module, x)
    peer("eager channels_last", last, x_last)
    for mode in MODES:
        torch._dynamo.reset()
        network = module if dtype == "float32" else last
        peer(f"torch.compile {mode}", torch.compile(network, mode=mode), x)

    for graph in ("while", "launches", "off"):
        runner = fastdiff.compile(
            model, "ddim", ROWS, backend="cuda", dtype=dtype, graph=graph
        )._runner
        name = f"fastdiff {graph}"
        request = _request(model, batch)
        runner.run(request)
        session = runner.captures.get(runner.shape_of(request), _unreachable)

        def run(session: Any = session) -> None:
            session.walk.run(ROWS)

        def scoped(run: Any = run, runner: Any = runner) -> None:
            with runner.device.scope():
                run()

        calls[name], steps[name] = scoped, ROWS
        if graph == "off":
            facts[name] = {"kernel_seconds": _kernel_seconds(scoped) / ROWS}
    flops = direct_flops(module, tuple(value[:1] for value in (x, *rest)))
    a, b = torch.randn(2, MATMUL, MATMUL, device="cuda", dtype=reduced)
    out = torch.empty_like(a)
    calls["matrix product"] = lambda: torch.mm(a, b, out=out)
    rate = 2 * MATMUL**3 / _seconds(calls["matrix product"])
    facts["matrix product"] = {
        "flops": 2 * MATMUL**3,
        "roofline_seconds": batch * flops / rate,
        "step_flops_per_image": flops,
    }
    return calls, steps, facts


def _unreachable() -> Any:
    raise AssertionError("the session was captured a moment ago")


def _request(model: Any, batch: int) -> Any:
    from fastdiff.backends.base import Request
    from fastdiff.noise import as_seeds
    from fastdiff.requests.tables import table_of

    table = table_of("ddim", model.schedule, ROWS, {})
    width = model.context_width
    context = np.eye(width, dtype=np.float32)[np.arange(batch) % width] if width else None
    return Request(table, as_seeds(0, batch), context=context)


def _seconds(call: Callable[[], object]) -> float:
    import torch

    best = float("inf")
    for _ in range(5):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3)
    return best


def _kernel_seconds(call: Callable[[], object]) -> float:
    """The sum of what the kernels themselves take, by torch's profiler."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    call()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e6


def direct_flops(module: Any, inputs: tuple[Any, ...]) -> float:
    """Operations of one call, products and sums counted singly, whatever the algorithm."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def kernel_contestants() -> dict[str, tuple[Callable[[], object], int]]:
    """Calls that move more than 64 MB each, and the bytes that they must move."""
    import torch

    from fastdiff.kernels.group_norm_act import group_norm_act
    from fastdiff.kernels.sampler_update import sampler_update

    found: dict[str, tuple[Callable[[], object], int]] = {}
    source = torch.randn(2**26, device="cuda")
    to = torch.empty_like(source)
    found["copy"] = (lambda: to.copy_(source), 8 * source.numel())
    for dtype in (torch.float32, torch.bfloat16):
        for size in (16, 64):
            batch = 2**26 // (128 * size * size)
            for form in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(batch, 128, size, size, device="cuda", dtype=dtype)
                x = x.contiguous(memory_format=form)
                gain = torch.ones(128, device="cuda")
                name = f"group_norm_act {size}x{size} {dtype} {form}".replace("torch.", "")
                found[name] = (
                    lambda x=x, gain=gain: group_norm_act(x, 8, gain, gain, 1e-5, ("silu",)),
                    2 * x.numel() * x.element_size(),
                )
    table = torch.zeros(64, 19, device="cuda")
    table[:, [1, 2, 6]] = torch.tensor([1.0, -0.1, 0.99], device="cuda")
    for noise in (0.0, 0.1):
        for dtype in (torch.float32, torch.bfloat16):
            rows = table.clone()
            rows[:, 16] = noise
            batch = 4096
            x = torch.randn(batch, 3, 64, 64, device="cuda")
            m = torch.randn_like(x).to(dtype)
            past = torch.zeros(0, *x.shape, device="cuda")
            model_in = torch.empty_like(m)
            integers = torch.zeros(batch, dtype=torch.int32, device="cuda")
            count = torch.full((1,), 64, dtype=torch.int32, device="cuda")
            seeds = torch.arange(batch, device="cuda")
            arguments = (x, m, rows, integers, count, seeds, past, past, model_in)
            found[
                f"sampler_update {dtype}{' with noise' if noise else ''}".replace("torch.", "")
            ] = (
                lambda a=arguments: sampler_update(*a),
                x.numel() * (8 + 2 * m.element_size()),
            )
    return found


def pixel_contestants(batch: int) -> tuple[Calls, dict[str, float]]:
    """Whole runs of the reference PixelCNN; by name what a call must be multiplied with."""
    import torch
    from pixelcnn import PIXELS, reference

    from fastdiff.backends.base import PixelRequest
    from fastdiff.backends.cuda import BACKEND
    from fastdiff.noise import as_seeds

    model = reference()
    calls: Calls = {}
    for dtype in ("float32", "bfloat16"):
        runner = BACKEND.prepare_pixels(model, dtype=dtype)
        request = PixelRequest(as_seeds(0, batch))
        runner.run(request)
        calls[f"fastdiff {dtype}"] = lambda runner=runner, request=request: runner.run(request)
    _precision("float32")
    module = copy.deepcopy(model.module).eval().requires_grad_(False).cuda()
    x = torch.rand(batch, 1, 28, 28, device="cuda")

    def forward() -> object:
        with torch.inference_mode():
            return module(x)

    calls["naive loop, eager float32"] = forward
    return calls, {"naive loop, eager float32": PIXELS}
