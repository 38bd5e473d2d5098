"""The engine: a model, a sampler's table and a backend, ready to draw.

``fastdiff.compile`` makes one. ``Engine.sample`` checks a request, cuts it into chunks, hands them
to the backend and gathers the images; ``interpolate`` and ``between_seeds`` are samples from
starts of their own, ``encode`` is the way back.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt

from fastdiff.backends.base import Float32Array, Request
from fastdiff.backends.registry import prepare
from fastdiff.errors import FastdiffError
from fastdiff.noise import STREAM_INIT, SeedsLike, as_seeds, normal
from fastdiff.requests import contexts, editing, tables
from fastdiff.requests.chunks import OnStep, Samples, Step, run_chunks
from fastdiff.requests.counts import check_work, checked_n
from fastdiff.requests.sampling import StartLike, resolve
from fastdiff.requests.tables import SamplerLike
from fastdiff.samplers import DEFAULT_SAMPLER, SamplerTable
from fastdiff.schedules import EDMSchedule, Schedule

if TYPE_CHECKING:
    from fastdiff.models.autoregressive import AutoregressiveModel
    from fastdiff.models.model import DiffusionModel
    from fastdiff.pixel_engine import PixelEngine

__all__ = ["Engine", "OnStep", "Samples", "Step", "compile"]


class Engine:
    """Made by ``fastdiff.compile``. Immutable; many threads may call ``sample`` at once."""

    def __init__(
        self,
        model: DiffusionModel,
        backend: str,
        options: Mapping[str, Any],
        sampler: SamplerLike,
        steps: int | None,
        sampler_options: dict[str, Any],
    ) -> None:
        if "strength" in sampler_options:
            raise FastdiffError(
                "strength: expected with the image that it is for, in sample(image=...), not here"
            )
        self.model = model
        self.dtype: str = options.get("dtype", "float32")
        # A scheduler is its owner's, who may change it; a name and a table cannot change.
        self._sampler = copy.deepcopy(sampler) if tables.is_scheduler(sampler) else sampler
        self._sampler_options = sampler_options
        self.table = tables.table_of(self._sampler, model.schedule, steps, sampler_options)
        # A name whose steps were left to it keeps them when a request changes its options.
        self._steps = len(self.table) if isinstance(sampler, str) else steps
        prepared = prepare(backend, lambda b: b.prepare(model, **options))
        self.backend, self.passed_over = prepared.backend, prepared.passed_over
        self._runner = prepared.runner

    def __repr__(self) -> str:
        others = "".join(f"; {name}: {why}" for name, why in self.passed_over.items())
        return (
            f"Engine({self.model.name}, {self.table.name}, "
            f"backend={self.backend}: {self._runner.describe()}{others})"
        )

    def sample(
        self,
        n: int | None = None,
        seed: SeedsLike = 0,
        *,
        context: contexts.ContextLike = None,
        guidance: float | Sequence[float] | Float32Array | None = None,
        guidance_rescale: float | Sequence[float] | Float32Array = 0.0,
        guidance_until: float = 1.0,
        x_T: StartLike = None,
        image: npt.NDArray[Any] | None = None,
        strength: float | None = None,
        mask: npt.NDArray[Any] | None = None,
        on_step: OnStep | None = None,
        every: int = 1,
        sampler: SamplerLike | None = None,
        steps: int | None = None,
        batch_size: int = 64,
        progress: bool = False,
        **sampler_options: Any,
    ) -> Samples:
        """Draws ``n`` images, float32 [n, C, H, W] in [-1, 1], with the seeds used.

        ``n``: as many as there are seeds, contexts, x_T, images or masks unless given, else 1.
        ``seed``: an int s means seeds s .. s + n - 1; a sequence gives each image's own. The image
        of a seed does not depend on the others in the request. ``context``: a class name, n of
        them, or numbers [width] or [n, width]; None is unconditional.

        ``guidance``: scale of classifier-free guidance, one or [n] (Ho & Salimans 2022); 1, the
        default, is none. ``guidance_rescale``: phi, one or [n]: the guided output is scaled
        towards the deviation of the conditional one (Lin et al. 2024, section 3.4), against the
        glare of large scales. ``guidance_until``: the share of the rows that are guided; the rest
        takes half the work.

        ``x_T``: start from this instead of the seeds' noise, [n, C, H, W], or from what a function
        makes of the table. ``image``: start from this with the noise of the first of the last
        ``strength`` of the rows, which alone are walked (SDEdit, Meng et al. 2022): float [C, H, W]
        or [n, C, H, W] in [-1, 1], or uint8 pixels [H, W, C] or [n, H, W, C]. ``mask``: where it is
        drawn anew (1) and kept (0), [H, W], [n, H, W] or [n, 1, H, W], bool or in [0, 1]: every
        row sees the kept part with the row's own noise (Lugmayr et al. 2022, equation 8), and the
        answer has it exactly. ``strength``: 0.6 unless given; 1 with a mask, where what is drawn
        anew then starts from plain noise and does not see what was there; 1 with x_T.

        ``on_step``: called with a :class:`Step` after every ``every``-th row and the last;
        returning False cancels, and what was drawn so far is returned. Ctrl-C does the same,
        once at least one chunk is whole. ``steps`` and sampler options change the engine's for
        this request; ``sampler`` replaces it, with its own steps and options. Work goes in
        chunks of ``batch_size``.

        Raises FastdiffError where an argument is wrong, before anything is drawn.
        """

        def table_for(share: float) -> SamplerTable:
            return self._table_for(sampler, steps, share, sampler_options)

        check_work(batch_size, every, on_step)
        whole = resolve(
            self.model,
            table_for,
            n,
            seed,
            context=context,
            guidance=guidance,
            guidance_rescale=guidance_rescale,
            guidance_until=guidance_until,
            x_T=x_T,
            image=image,
            strength=strength,
            mask=mask,
        )
        bar = self.model.name if progress else None
        shape = self.model.sample_shape
        return run_chunks(self._runner, whole, shape, batch_size, on_step, every, bar)

    def interpolate(
        self,
        a: npt.NDArray[Any],
        b: npt.NDArray[Any],
        n: int = 9,
        *,
        strength: float = 0.5,
        seed: SeedsLike = 0,
        mix: str = "spherical",
        **request: Any,
    ) -> Samples:
        """Draws ``n`` images on the way from image ``a`` to image ``b`` (Ho et al. 2020, figure 8).

        ``a``, ``b``: float [C, H, W] in [-1, 1] or uint8 [H, W, C]. Both are given noise to the
        level of the last ``strength`` of the rows, mixed with weights evenly from 0 to 1 (0 alone
        for n = 1), and drawn again from there. ``mix``: ``"linear"`` mixes the noisy images, as the
        paper does; half-way that leaves 0.7 of the noise that the model is told of, hence
        ``"spherical"``: the images linearly and the noises along the arc (``editing.slerp``).
        ``seed``: s stands for s and s + 1, the seeds of the noises of a and b, or both in a
        sequence; the steps' noise is the first's in all n. ``request``: as in ``sample``.
        """
        n, seeds = checked_n(n), as_seeds(seed, 2)
        pair = editing.as_pair(a, b, self.model.sample_shape)

        def start(table: SamplerTable) -> Float32Array:
            tables.check_levels(table, 1)
            level = float(table["alpha"][0]), float(table["sigma"][0])
            return editing.mixed(pair, self._noises(seeds), *level, _weights(n), mix)

        return self.sample(n, seeds[:1].repeat(n), x_T=start, strength=strength, **request)

    def between_seeds(self, seed_a: int, seed_b: int, n: int = 9, **request: Any) -> Samples:
        """Draws ``n`` images on the way from the image of one seed to that of another.

        The initial noises are mixed along the arc between them (``editing.slerp``) with weights
        evenly from 0 to 1 (0 alone for n = 1); the steps' noise is that of ``seed_a`` in all n, so
        that the last image is the plain one of ``seed_b`` where the sampler adds none.
        ``request``: as in ``sample``.
        """
        n, seeds = checked_n(n), as_seeds([seed_a, seed_b])

        def start(table: SamplerTable) -> Float32Array:
            a, b = self._noises(seeds)
            mixed = table.init_scale * editing.slerp(a, b, _weights(n))
            return mixed.astype(np.float32)

        return self.sample(n, seeds[:1].repeat(n), x_T=start, **request)

    def encode(
        self,
        images: npt.NDArray[Any],
        *,
        steps: int | None = None,
        context: contexts.ContextLike = None,
        batch_size: int = 64,
        **sampler_options: Any,
    ) -> Float32Array:
        """The latents from which DDIM draws these images, float32 [n, C, H, W], not clipped.

        ``images``: float [n, C, H, W] in [-1, 1] or uint8 [n, H, W, C], or one of them. Runs the
        ``ddim_inverse`` table, ``steps`` rows, as many as the engine's unless given; drawing back
        is ``sample(x_T=latents, sampler="ddim", steps=steps)`` with the same context, near to the
        image up to what DDIM's steps leave out (``samplers/ddim.py``). Sampler options are that
        table's: ``spacing``, ``clip``, and ``strength`` to stop earlier.

        Raises FastdiffError where an argument is wrong, before anything is computed.
        """
        array = editing.as_array("images", images)
        n = len(array) if array.ndim == 4 else 1
        steps = len(self.table) if steps is None else steps
        table = tables.table_of("ddim_inverse", self.model.schedule, steps, sampler_options)
        check_work(batch_size)
        ctx = contexts.resolve(context, n, self.model.context_width, self.model.labels)
        start = editing.as_images("images", array, n, self.model.sample_shape)
        whole = Request(table, as_seeds(0, n), ctx, x_T=start)
        latents = np.empty(start.shape, dtype=np.float32)
        for first in range(0, n, batch_size):
            last = min(first + batch_size, n)
            latents[first:last] = self._runner.run(whole.part(first, last)).x
        return latents

    def describe(self, batch: int = 1) -> str:
        """How ``batch`` samples are computed: native's plan, a line a step; else one line."""
        plan = getattr(self._runner, "plan", None)
        return str(self._runner.describe() if plan is None else plan(batch))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the engine file: the model's program with its weights, the table, the schedule.

        It holds no code and nothing of this machine. ``fastdiff.runtime.load`` runs it without
        torch, ``fd_engine_load`` from C, ``fastdiff-run`` from the command line.
        """
        from fastdiff.program.engine_file import write
        from fastdiff.program.save import engine_bytes_of

        write(path, engine_bytes_of(self.model, self.table))

    def _noises(self, seeds: npt.NDArray[np.uint64]) -> Float32Array:
        """The initial noises of the seeds, [n, C, H, W]: the reference's, every backend's to within
        ``noise.NORMAL_TOLERANCE``.
        """
        shape = self.model.sample_shape
        return normal(seeds, 0, STREAM_INIT, int(np.prod(shape))).reshape(-1, *shape)

    def _table_for(
        self,
        sampler: SamplerLike | None,
        steps: int | None,
        strength: float,
        options: dict[str, Any],
    ) -> SamplerTable:
        """The engine's table, or the one that a request asks for instead."""
        if sampler is None:
            if steps is None and not options and strength == 1:
                return self.table
            sampler, options = self._sampler, {**self._sampler_options, **options}
            steps = self._steps if steps is None else steps
        return tables.table_of(sampler, self.model.schedule, steps, options, strength)


def _weights(n: int) -> npt.NDArray[np.float64]:
    return np.linspace(0.0, 1.0, n)


@overload
def compile(
    model: AutoregressiveModel,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> PixelEngine: ...


@overload
def compile(
    model: DiffusionModel,
    sampler: SamplerLike | None = None,
    steps: int | None = None,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    options: Mapping[str, Any] | None = None,
    **sampler_options: Any,
) -> Engine: ...


# By name it may be either; most are diffusion models.
@overload
def compile(
    model: str | os.PathLike[str],
    sampler: SamplerLike | None = None,
    steps: int | None = None,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    options: Mapping[str, Any] | None = None,
    **sampler_options: Any,
) -> Any: ...


def compile(
    model: DiffusionModel | AutoregressiveModel | str | os.PathLike[str],
    sampler: SamplerLike | None = None,
    steps: int | None = None,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    options: Mapping[str, Any] | None = None,
    **sampler_options: Any,
) -> Engine | PixelEngine:
    """An engine for a model (or the name or path of one), a sampler and a backend.

    ``sampler``: a name with its options (``eta=0.5``), a :class:`SamplerTable`, or a scheduler
    object of diffusers, with ``steps``; the default one unless given. ``steps``: model evaluations,
    the sampler's own default unless given. An autoregressive model takes none of these and gives a
    :class:`PixelEngine`. ``backend``: ``"auto"`` takes the fastest one that is available and can
    run the model; ``engine.backend`` says which, ``engine.passed_over`` why not a faster one.
    ``device``, ``dtype`` and ``options`` are passed to the backend where given: ``native`` takes
    ``threads``, ``exact`` and ``autotune`` (``backends/native.py``).
    """
    if isinstance(model, (str, os.PathLike)):
        from fastdiff.checkpoint import load

        model = load(model)
    named = {k: v for k, v in (("device", device), ("dtype", dtype)) if v is not None}
    given = {**(options or {}), **named}
    if hasattr(model, "input_scale"):
        from fastdiff.pixel_engine import PixelEngine

        asked = {"sampler": sampler, "steps": steps, **sampler_options}
        for name, value in asked.items():
            if value is not None:
                raise FastdiffError(
                    f"{name}: expected none, {model.name} draws pixel by pixel and has no sampler"
                )
        pixels = cast("AutoregressiveModel", model)
        prepared = prepare(backend, lambda b: b.prepare_pixels(pixels, **given))
        return PixelEngine(
            pixels, pixels.name, prepared.backend, prepared.runner, prepared.passed_over
        )
    if not isinstance(getattr(model, "schedule", None), (Schedule, EDMSchedule)):
        raise FastdiffError(
            "model: expected a fastdiff.DiffusionModel, a packaged name or a checkpoint's path, "
            f"got {type(model).__name__} (wrap a network: DiffusionModel(module, schedule, shape))"
        )
    chosen = DEFAULT_SAMPLER if sampler is None else sampler
    return Engine(model, backend, given, chosen, steps, sampler_options)
