"""The graph loop on a GPU, in both modes: rows, previews, cancelling, memory, two at once, and
compute-sanitizer over this file run as a program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from fastdiff import _native
from tests.conftest import ROOT
from tests.gpu.conftest import require_gpu

require_gpu()

import torch

START = 100.0
NOT_KEPT = -7.0
SLOTS = 4
DONE = "graph loop: done"

each_mode = pytest.mark.parametrize("mode", ["while", "launches"])


def expected(rows: int) -> float:
    """x after so many rows: row k adds 1 + k % 8. Whole numbers below 2^24, so float32 is exact."""
    return START + float(np.sum(1 + np.arange(rows) % 8))


class Toy:
    """A captured step, x += 1 + rows % 8 and x0 = -x, and the tensors of its loop.

    The step allocates nothing, so that it can be captured without torch's caching allocator too.
    """

    def __init__(
        self, batch: int = 3, elements: int = 20, offset: int = 0, most_rows: int = 16
    ) -> None:
        def floats(*shape: int) -> torch.Tensor:
            count = int(np.prod(shape))
            memory = torch.full((count + offset,), NOT_KEPT, device="cuda")
            return memory[offset:].view(*shape)

        self.batch, self.elements = batch, elements
        self.x, self.x0 = floats(batch, elements), floats(batch, elements)
        self.previews = floats(SLOTS, batch, elements)
        self.x0_previews = floats(SLOTS, batch, elements)
        self.rows = torch.full((batch,), 12345, dtype=torch.int32, device="cuda")
        self.count = torch.zeros(1, dtype=torch.int32, device="cuda")
        self.schedule = torch.full((most_rows,), -1, dtype=torch.int32, device="cuda")
        self._whole = torch.empty_like(self.rows)
        self._added = torch.empty(batch, device="cuda")
        self.step = self._capture(self._run_step)
        self.start = self._capture(self._run_start)

    def _run_start(self) -> None:
        self.x.fill_(START)

    def _run_step(self) -> None:
        torch.remainder(self.rows, 8, out=self._whole)
        self._whole.add_(1)
        self._added.copy_(self._whole)
        self.x.add_(self._added[:, None])
        torch.neg(self.x, out=self.x0)

    def _capture(self, work: Any) -> torch.cuda.CUDAGraph:
        work()  # loads its kernels, so that the capture does not
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(graph):
            work()
        return graph

    def loop(self, mode: str, previews: bool = True, **changes: Any) -> Any:
        parts: dict[str, Any] = {
            "step": self.step.raw_cuda_graph(),
            "start": self.start.raw_cuda_graph(),
            "rows": self.rows.data_ptr(),
            "batch": self.batch,
            "count": self.count.data_ptr(),
            "x": self.x.data_ptr(),
            "elements": self.elements,
            "mode": mode,
        }
        if previews:
            parts |= {
                "x0": self.x0.data_ptr(),
                "previews": self.previews.data_ptr(),
                "x0_previews": self.x0_previews.data_ptr(),
                "schedule": self.schedule.data_ptr(),
            }
        return _native.GraphLoop(**{**parts, **changes})

    def ask(self, count: int, slots: dict[int, int] | None = None) -> None:
        """So many rows, row k kept in slots[k]; what was kept before is forgotten."""
        self.count.fill_(count)
        self.schedule.fill_(-1)
        for row, slot in (slots or {}).items():
            self.schedule[row] = slot
        self.previews.fill_(NOT_KEPT)
        self.x0_previews.fill_(NOT_KEPT)

    def check(self, done: int, slots: dict[int, int] | None = None) -> None:
        """What so many rows on the host would have left."""
        assert torch.all(self.rows == done)
        assert torch.all(self.x == expected(done))
        kept = torch.full((SLOTS,), NOT_KEPT)
        for row, slot in (slots or {}).items():
            if row < done:
                kept[slot] = expected(row + 1)
        for previews, sign in ((self.previews, 1), (self.x0_previews, -1)):
            wanted = torch.where(kept == NOT_KEPT, kept, sign * kept)[:, None, None]
            assert torch.all(previews.cpu() == wanted)


def stream() -> int:
    return int(torch.cuda.current_stream().cuda_stream)


def run(loop: Any) -> None:
    loop.launch(stream())
    loop.wait(stream())


@each_mode
@pytest.mark.parametrize(
    ("batch", "elements", "offset"),
    [(1, 1, 0), (3, 20, 0), (3, 7, 0), (2, 20, 1), (300, 4, 0), (64, 3 * 64 * 64, 0)],
)
def test_equals_the_loop_on_the_host(mode: str, batch: int, elements: int, offset: int) -> None:
    toy = Toy(batch, elements, offset)
    loop = toy.loop(mode)
    slots = {0: 2, 3: 0, 9: 3}
    for count in (10, 1, 4, 0, 16):
        toy.ask(count, slots)
        run(loop)
        assert loop.rows_done == count
        toy.check(count, slots)


def test_the_modes_and_their_nodes() -> None:
    toy = Toy()
    automatic, one, many = (toy.loop(mode) for mode in ("auto", "while", "launches"))
    assert automatic.mode == one.mode == "while"
    assert many.mode == "launches"
    assert one.node_count == many.node_count + 1  # the while node
    assert toy.loop("while", previews=False).node_count == one.node_count - 1
    assert toy.loop("while", start=None).node_count < one.node_count


@each_mode
def test_on_another_stream_and_without_previews_or_start(mode: str) -> None:
    toy = Toy()
    loop = toy.loop(mode, previews=False, start=None)
    toy.x.fill_(START)
    toy.ask(12)
    torch.cuda.synchronize()
    other = torch.cuda.Stream()
    loop.launch(other.cuda_stream)
    loop.wait(other.cuda_stream)
    toy.check(12)


@each_mode
def test_a_launch_waits_its_turn_in_the_stream(mode: str) -> None:
    toy = Toy()
    loop = toy.loop(mode)
    toy.ask(16)
    busy = torch.ones(4096, 4096, device="cuda")
    for _ in range(20):
        busy = busy @ busy / 4096
    toy.count.fill_(5)  # behind the products, before the loop
    loop.launch(stream())
    after = toy.x.clone()  # behind the loop, with no wait in between
    loop.wait(stream())
    assert torch.all(after == expected(5))
    toy.check(5)


@each_mode
def test_cancelled_from_another_thread_it_ends_early(mode: str) -> None:
    toy = Toy()
    count = 1_000_000
    loop = toy.loop(mode, previews=False)
    toy.ask(count)
    torch.cuda.synchronize()
    seen: list[int] = []

    def cancel() -> None:
        while loop.rows_done < 10:
            pass
        loop.cancel()
        seen.append(loop.rows_done)

    thread = threading.Thread(target=cancel)
    thread.start()
    run(loop)
    thread.join()
    done = loop.rows_done
    assert 10 <= seen[0] <= done < count
    toy.check(done)

    toy.ask(7)  # the next one is not meant
    run(loop)
    toy.check(7)


@each_mode
def test_a_thousand_launches_take_no_more_memory(mode: str) -> None:
    toy = Toy()
    loop = toy.loop(mode)
    toy.ask(3, {1: 2})
    run(loop)
    torch.cuda.synchronize()
    free_bytes, _ = torch.cuda.mem_get_info()
    for _ in range(1000):
        loop.launch(stream())
    loop.wait(stream())
    toy.check(3, {1: 2})
    # Others may use the GPU too; launches that kept even 0.1 MB each would show.
    assert free_bytes - torch.cuda.mem_get_info()[0] < 16 * 2**20


@each_mode
def test_loops_made_and_closed_give_their_memory_back(mode: str) -> None:
    toy = Toy()
    toy.ask(2)
    run(toy.loop(mode))
    torch.cuda.synchronize()
    free_bytes, _ = torch.cuda.mem_get_info()
    for _ in range(200):
        loop = toy.loop(mode)
        loop.launch(stream())
        loop.close()
        assert loop.rows_done == 2
    assert free_bytes - torch.cuda.mem_get_info()[0] < 16 * 2**20
    with pytest.raises(ValueError, match="launch: expected an open graph loop, got a closed one"):
        loop.launch(stream())


@each_mode
def test_two_loops_at_once(mode: str) -> None:
    toys = [Toy(2, 512), Toy(5, 33)]
    loops = [toy.loop(mode) for toy in toys]
    streams = [torch.cuda.Stream() for _ in toys]
    for turn in range(20):
        for toy in toys:
            toy.ask(10 + turn % 6, {turn % 10: 1})
        torch.cuda.synchronize()
        threads = [
            threading.Thread(target=loop.launch, args=(side.cuda_stream,))
            for loop, side in zip(loops, streams, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for toy, loop, side in zip(toys, loops, streams, strict=True):
            loop.wait(side.cuda_stream)
            toy.check(10 + turn % 6, {turn % 10: 1})


@each_mode
def test_out_of_use_while_it_runs_it_runs_to_its_end(mode: str) -> None:
    toy = Toy()
    toy.ask(16)
    loop = toy.loop(mode)
    loop.launch(stream())
    del loop
    toy.check(16)


def test_a_step_that_a_while_node_cannot_hold_is_named() -> None:
    toy = Toy()
    event = torch.cuda.Event(external=True)

    def step() -> None:
        toy._run_step()
        event.record()

    graph = toy._capture(step)
    for mode in ("auto", "while"):
        with pytest.raises(ValueError, match="got one with a node of kind 'event record'"):
            toy.loop(mode, step=graph.raw_cuda_graph())
    loop = toy.loop("launches", step=graph.raw_cuda_graph())
    toy.ask(6)
    run(loop)
    toy.check(6)


def test_an_address_on_no_device_is_named() -> None:
    toy = Toy()
    on_host = torch.zeros(1, dtype=torch.int32)
    with pytest.raises(ValueError, match="count: expected an address on a CUDA device, got "):
        toy.loop("auto", count=on_host.data_ptr())


@each_mode
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool: str, mode: str) -> None:
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on PATH")
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9"]
    result = subprocess.run(
        [*command, sys.executable, "-m", "tests.gpu.test_graph_loop_gpu", mode],
        check=False,  # told by the assertion, with the tool's own words
        cwd=ROOT,
        # Each tensor in an allocation of its own: a store past its end is then seen.
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert DONE in result.stdout


def main(mode: str) -> None:
    """A few loops of every kind, for compute-sanitizer."""
    for batch, elements, offset in ((1, 1, 0), (3, 20, 0), (3, 7, 0), (2, 20, 1), (300, 4, 0)):
        toy = Toy(batch, elements, offset)
        loop = toy.loop(mode)
        for count in (5, 0, 2):
            toy.ask(count, {0: SLOTS - 1, 3: 0})
            run(loop)
            toy.check(count, {0: SLOTS - 1, 3: 0})
        loop.close()
    print(DONE)


if __name__ == "__main__":
    main(sys.argv[1])
