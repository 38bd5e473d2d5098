"""kernels/choose_levels.py in Triton's interpreter against ``naive.choose``.

Run by test_interpreted.py, or by itself:
TRITON_INTERPRET=1 pytest tests/ops/test_choose_levels_triton.py
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

import torch

from fastdiff import FastdiffError
from fastdiff.kernels import choose_levels as kernels
from fastdiff.kernels.choose_levels import choose_levels, choose_levels_reference
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.pixelcnn.naive import choose

INT = torch.int32
CALLS = [choose_levels, choose_levels_reference]
MARGIN = 1e-6  # a uniform nearer to an edge of the CDF may fall on either side


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values).astype(np.int32))


class Case:
    """Logits [n, M, L] of every cell at one subtime, in a cache that holds nan elsewhere."""

    def __init__(
        self, logits: torch.Tensor, u: Any, temperature: float = 1.0, top_k: int = 0,
        given: Any = -1, scale: float = 2 / 255, shift: float = -1.0, seed: int = 0,
    ) -> None:  # fmt: skip
        rng = np.random.default_rng(seed)
        n, M, L = logits.shape
        self.logits, self.subtime, self.subtimes = logits, 1, 3
        self.temperature, self.top_k, self.scale, self.shift = temperature, top_k, scale, shift
        size, P = M * (L + 3), 2 * M + 1
        # Logits of a cell in any order, cells apart; what follows the network's input is free.
        self.offsets = rng.permutation(L)
        first = rng.permutation(M) * L
        self.cache = torch.full((n, size), torch.nan, dtype=logits.dtype)
        self.cache[:, first[:, None] + self.offsets] = logits
        self.inputs, self.input_offset = M * L + np.arange(M) * 3, 2
        wild = 2**31 - 2**10  # other subtimes' places: nothing may follow them
        self.tables = [np.full((self.subtimes, M), wild) for _ in range(3)]
        self.where = rng.permutation(P)[:M]
        rows = (first, self.where, self.inputs)
        for table, row in zip(self.tables, rows, strict=True):
            table[self.subtime] = row
        self.uniforms = torch.full((n, P), torch.nan)
        self.uniforms[:, self.where] = torch.from_numpy(
            np.broadcast_to(u, (n, M)).astype(np.float32)
        )
        self.given = torch.full((n, P), 1, dtype=INT)
        self.given[:, self.where] = tensor(np.broadcast_to(given, (n, M)))

    def leave_out(self, cell: int) -> None:
        """No pixel value is chosen at this cell."""
        self.tables[1][self.subtime, cell] = -1
        self.tables[0][self.subtime, cell] = self.tables[2][self.subtime, cell] = 2**31 - 2**10

    def arguments(self) -> dict[str, Any]:
        n, P = self.uniforms.shape
        logits, places, inputs = map(tensor, self.tables)
        return {
            "cache": self.cache.clone(), "subtime": tensor([self.subtime]), "logits": logits,
            "logit_offsets": tensor(self.offsets), "uniforms": self.uniforms, "places": places,
            "given": self.given, "inputs": inputs, "input_offset": self.input_offset,
            "levels": torch.full((n, P), -7, dtype=INT),
            "temperature": torch.tensor([self.temperature]), "top_k": tensor([self.top_k]),
            "scale": self.scale, "shift": self.shift,
        }  # fmt: skip

    def run(self, call: Any = choose_levels, **change: Any) -> tuple[torch.Tensor, torch.Tensor]:
        arguments = {**self.arguments(), **change}
        call(**arguments)
        return arguments["levels"], arguments["cache"]

    def expected(self) -> np.ndarray[Any, Any]:
        """Levels [n, M] by the reference of all samplers, given ones apart."""
        n, M, L = self.logits.shape
        u = self.uniforms[:, self.where].reshape(-1).numpy()
        top_k = self.top_k if 0 < self.top_k < L else None
        return choose(self.logits.reshape(-1, L), u, self.temperature, top_k).reshape(n, M)

    def check(self, expected: Any = None) -> np.ndarray[Any, Any]:
        """Both calls choose these levels and write nothing else; by default those of ``choose``."""
        wanted = (
            self.expected()
            if expected is None
            else np.broadcast_to(expected, self.logits.shape[:2])
        )
        live = self.tables[1][self.subtime] >= 0
        model = AutoregressiveModel(
            torch.nn.Identity(), (1, 1, 1), self.logits.shape[2], input_scale=self.scale,
            input_shift=self.shift,
        )  # fmt: skip
        levels = torch.full(self.uniforms.shape, -7, dtype=INT)
        levels[:, self.where[live]] = tensor(wanted[:, live])
        cache = self.cache.clone()
        x = model.input_of(torch.from_numpy(wanted[:, live].astype(np.int64)))
        cache[:, self.inputs[live] + self.input_offset] = x.to(cache.dtype)
        for call in CALLS:
            got, after = self.run(call)
            assert torch.equal(got, levels), call
            assert torch.equal(after.nan_to_num(7e9), cache.nan_to_num(7e9)), call
        return wanted


def away_from_edges(logits: torch.Tensor, temperature: float, top_k: int, seed: int) -> Any:
    """Uniforms float32 [n, M] that are not within MARGIN of an edge of their CDF."""
    scaled = (logits.float() / temperature).double().numpy()
    if 0 < top_k < logits.shape[2]:
        least = np.sort(scaled, axis=2)[..., -top_k, None]
        scaled = np.where(scaled < least, -np.inf, scaled)
    cdf = np.exp(scaled - scaled.max(axis=2, keepdims=True)).cumsum(axis=2)
    cdf /= cdf[..., -1:]
    rng, found = np.random.default_rng(seed), np.full(logits.shape[:2], np.nan, np.float32)
    while np.isnan(found).any():
        drawn = rng.random(found.shape, np.float32)
        near = np.abs(cdf - drawn[..., None]).min(axis=2) < MARGIN
        found = np.where(np.isnan(found) & ~near, drawn, found)
    return found


def random_logits(n: int, M: int, L: int, dtype: torch.dtype, seed: int, wide: float = 2) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return (wide * torch.randn(n, M, L, generator=generator)).to(dtype)


@pytest.mark.parametrize("dtype", kernels.DTYPES, ids=str)
@pytest.mark.parametrize(
    ("n", "M", "L"), [(1, 1, 2), (3, 4, 2), (3, 7, 16), (1, 7, 256), (4, 5, 255), (2, 3, 33)]
)
def test_levels_are_those_of_the_loop_by_the_book(n: int, M: int, L: int, dtype: Any) -> None:
    seen = set()
    options = [(1.0, 0), (0.7, 0), (1.3, 1), (1.7, L // 2), (0.9, L - 1), (1.0, L), (3.0, L + 5)]
    for seed, (temperature, top_k) in enumerate(options):
        logits = random_logits(n, M, L, dtype, seed)
        u = away_from_edges(logits, temperature, top_k, seed)
        found = Case(logits, u, temperature, top_k, scale=2 / (L - 1), seed=seed).check()
        seen |= set(found.ravel().tolist())
    assert len(seen) > min(L, n * M) // 2


@pytest.mark.parametrize("L", [2, 16, 256])
def test_a_uniform_on_an_edge_belongs_to_the_level_above(L: int) -> None:
    """Equal logits: every edge k / L is exact, in whatever order the sums are made."""
    level = np.unique(np.linspace(1, L - 1, 5).astype(int))
    u = (level / L).astype(np.float32)
    logits = torch.full((1, len(level), L), 0.3)
    Case(logits, u).check(level)
    Case(logits, np.nextafter(u, np.float32(0))).check(level - 1)


@pytest.mark.parametrize("L", [2, 16, 256])
def test_the_ends_of_the_uniforms(L: int) -> None:
    logits = torch.zeros(1, 3, L)
    Case(logits, 1.0).check(L - 1)
    Case(logits, 2.0**-33).check(0)
    last, first = logits.clone(), logits.clone()
    last[..., L // 2 + 1 :] = -1e4  # no probability at all
    Case(last, 1.0).check(L // 2)
    first[..., : L // 2] = -1e4
    Case(first, 2.0**-33).check(L // 2)
    Case(first, 1.0).check(L - 1)
    first[...] = -torch.inf
    first[..., L - 1] = 0
    Case(first, 2.0**-33).check(L - 1)


def test_a_level_of_hardly_any_probability_is_not_rounded_away() -> None:
    """Its share, e^-50, is nothing in float32 beside 1; naive.choose gives it u = 1."""
    logits = torch.zeros(1, 1, 4)
    logits[..., 3] = -50
    assert Case(logits, 1.0).check().item() == 3
    assert Case(logits, 1 - 2.0**-24).check().item() == 2


@pytest.mark.parametrize("top_k", [1, 2, 3, 4, 5])
def test_equals_of_the_last_kept_level_are_all_kept(top_k: int) -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 1.0, 2.0]).expand(1, 5, 6)
    kept = {1: [1], 2: [1, 2, 3, 5], 3: [1, 2, 3, 5], 4: [1, 2, 3, 5], 5: range(6)}[top_k]
    u = away_from_edges(logits, 1.0, top_k, 1)
    u[0, 0], u[0, 1] = 2.0**-33, 1.0
    found = Case(logits, u, top_k=top_k).check()
    assert set(found.ravel().tolist()) <= set(kept)
    assert found[0, :2].tolist() == [kept[0], kept[-1]]


def test_temperature_divides_in_float32() -> None:
    """Logits that are apart by less than float32 tells after the division are ties."""
    a = np.float32(1.9)
    b = np.nextafter(a, np.float32(2))
    temperature = next(
        t for t in (1 + k / 64 for k in range(1, 64)) if a / np.float32(t) == b / np.float32(t)
    )
    logits = torch.tensor([[[a, b]]])
    assert Case(logits, 0.25, temperature, top_k=1).check().item() == 0
    assert Case(logits, 0.25, 1.0, top_k=1).check().item() == 1


def test_given_levels_win() -> None:
    logits = random_logits(2, 3, 16, torch.float32, 1)
    u = away_from_edges(logits, 1.0, 0, 1)
    given = np.array([[-1, 0, 15], [7, -1, -1]])
    case = Case(logits, u, given=given)
    expected = np.where(given >= 0, given, case.expected())
    assert (expected != case.expected()).any()
    case.check(expected)


def test_cells_without_a_pixel_are_left_alone() -> None:
    logits = random_logits(2, 4, 16, torch.float32, 2)
    case = Case(logits, away_from_edges(logits, 1.0, 0, 2))
    case.leave_out(0)
    case.leave_out(2)
    case.check()
    for cell in (1, 3):
        case.leave_out(cell)
    case.check()


@pytest.mark.parametrize("call", CALLS)
def test_outside_of_the_tables_nothing_is_done(call: Any) -> None:
    case = Case(random_logits(2, 3, 4, torch.float32, 3), 0.5)
    for s in (-1, case.subtimes, 2**31 - 1, -(2**31)):
        levels, cache = case.run(call, subtime=tensor([s]))
        assert (levels == -7).all()
        assert torch.equal(cache.nan_to_num(7e9), case.cache.nan_to_num(7e9))


@pytest.mark.parametrize("call", CALLS)
def test_an_input_that_nobody_keeps_is_not_written(call: Any) -> None:
    case = Case(random_logits(2, 3, 4, torch.float32, 3), 0.5)
    levels, cache = case.run(call, inputs=torch.full((case.subtimes, 3), -1, dtype=INT))
    assert (levels[:, case.where] == tensor(case.expected())).all()
    assert torch.equal(cache.nan_to_num(7e9), case.cache.nan_to_num(7e9))


def test_the_input_is_rounded_once_as_the_models_is() -> None:
    """Scales at which rounding on the way, to float32 or by an fma, would show."""
    rng = np.random.default_rng(4)
    differs = 0
    for scale, shift in [(2 / 255, -1.0), *rng.uniform(-1, 1, (6, 2)).tolist()]:
        level = rng.integers(0, 256, (1, 16))
        Case(torch.zeros(1, 16, 256), 0.5, given=level, scale=scale, shift=shift).check(level)
        narrow = level.astype(np.float32) * np.float32(scale) + np.float32(shift)
        differs += (narrow != (level * scale + shift).astype(np.float32)).sum()
    assert differs > 10


@pytest.mark.parametrize("call", CALLS)
def test_no_samples_and_no_cells(call: Any) -> None:
    case = Case(random_logits(2, 3, 4, torch.float32, 3), 0.5)
    none = {
        k: v[:0]
        for k, v in case.arguments().items()
        if k in ("cache", "uniforms", "given", "levels")
    }
    case.run(call, **none)
    empty = {k: torch.zeros(3, 0, dtype=INT) for k in ("logits", "places", "inputs")}
    levels, _ = case.run(call, **empty)
    assert (levels == -7).all()


WRONG = [
    ({"cache": torch.zeros(2, 21, dtype=torch.float64)}, r"^cache: .*got float64 \[2, 21\]$"),
    ({"subtime": 1}, "^subtime: .*got 1$"),
    ({"logits": torch.zeros(3, 2, dtype=INT)}, r"^logits: .*\[3, 3\], got int32 \[3, 2\]$"),
    (
        {"logit_offsets": torch.zeros(1, dtype=INT)},
        "^logit_offsets: expected 2 to 256 levels, got 1$",
    ),
    ({"logit_offsets": torch.zeros(257, dtype=INT)}, "^logit_offsets: .*got 257$"),
    ({"uniforms": torch.zeros(2, 8)}, r"^uniforms: .*float32 \[2, 7\], got float32 \[2, 8\]$"),
    ({"places": torch.zeros(3, 3)}, r"^places: .*got float32 \[3, 3\]$"),
    ({"given": torch.zeros(1, 7, dtype=INT)}, r"^given: .*\[2, 7\], got int32 \[1, 7\]$"),
    ({"inputs": torch.zeros(2, 3, dtype=INT)}, r"^inputs: .*\[3, 3\], got int32 \[2, 3\]$"),
    ({"input_offset": -1}, "^input_offset: expected an element of a cell, got -1$"),
    ({"levels": torch.zeros(7, 2, dtype=INT).T}, "^levels: expected a contiguous tensor"),
    (
        {"temperature": torch.zeros(1).double()},
        r"^temperature: .*float32 \[1\], got float64 \[1\]$",
    ),
    ({"top_k": torch.zeros(2, dtype=INT)}, r"^top_k: .*int32 \[1\], got int32 \[2\]$"),
    ({"scale": float("nan")}, "^scale: expected a finite number, got nan$"),
    ({"shift": float("inf")}, "^shift: expected a finite number, got inf$"),
    ({"top_k": torch.zeros(1, dtype=INT, device="meta")}, "^top_k: expected a tensor on cpu, as"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[next(iter(c)) for c, _ in WRONG])
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    case = Case(random_logits(2, 3, 4, torch.float32, 3), 0.5)
    with pytest.raises(FastdiffError, match=message):
        case.run(**change)


def test_on_a_cpu_without_the_interpreter_the_op_runs_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "runs_reference", lambda device: device.type == "cpu")
    monkeypatch.setattr(kernels, "choose_levels_kernel", None)
    logits = random_logits(2, 3, 16, torch.float32, 3)
    Case(logits, away_from_edges(logits, 1.0, 0, 3)).check()


def test_another_device_is_refused() -> None:
    arguments = Case(random_logits(2, 3, 4, torch.float32, 3), 0.5).arguments()
    elsewhere = [v.to("meta") if isinstance(v, torch.Tensor) else v for v in arguments.values()]
    with pytest.raises(FastdiffError, match=r"^cache: expected a tensor on a CUDA device .* meta$"):
        kernels._launch(*elsewhere)


def test_the_op_passes_opcheck() -> None:
    case = Case(random_logits(2, 3, 4, torch.float32, 3), 0.5)
    arguments = case.arguments()
    for name in ("cache", "uniforms"):
        arguments[name] = arguments[name].nan_to_num(0.5)
    torch.library.opcheck(kernels.OP, tuple(arguments.values()))


class Compiled(torch.nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.arguments = case.arguments()

    def forward(self, cache: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        choose_levels(**{**self.arguments, "cache": cache, "levels": levels})
        return levels + 1


def test_compiled_modules_call_the_op() -> None:
    logits = random_logits(2, 3, 16, torch.float32, 3)
    case = Case(logits, away_from_edges(logits, 1.0, 0, 3))
    compiled = torch.compile(Compiled(case), backend="aot_eager", fullgraph=True)
    arguments = case.arguments()
    after = compiled(arguments["cache"], arguments["levels"])
    levels, cache = case.run()
    assert torch.equal(after, levels + 1)
    assert torch.equal(arguments["levels"], levels)
    assert torch.equal(arguments["cache"].nan_to_num(7e9), cache.nan_to_num(7e9))
