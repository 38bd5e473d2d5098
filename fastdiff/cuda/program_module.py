"""A program on a device: every node the call that the rules made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fastdiff.cuda.rules import RULES, Match, Place, Rule, join_concat, match
from fastdiff.cuda.rules.base import Arguments
from fastdiff.program.ir import Program


class ProgramModule:
    """Runs a program in ``dtype``: float32, bfloat16 or float16, constants on ``device``.

    ``channels_last``: images [B, C, H, W] lie with their channels together, as reduced precision
    convolutions want them. ``join``: whether kernels may write into concatenations. A module has
    no state; it may run on any number of streams.
    """

    def __init__(
        self,
        program: Program,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        rules: Sequence[Rule] = RULES,
        join: bool = True,
    ) -> None:
        self.program, self.device, self.dtype = program, device, dtype
        self.matches: list[Match] = [match(node, program, rules) for node in program.nodes]
        self._places: Mapping[str, Place] = {}
        if join:
            self.matches, self._places = join_concat(program, self.matches)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._wide = _stay_float32(program, self.matches)
        self._constants = {
            name: self._put(name, torch.from_numpy(array))
            for name, array in program.constants.items()
        }
        self._last = _last_uses(program)

    def _put(self, name: str, tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32 if name in self._wide else self.dtype)
        if tensor.dim() == 4:
            return tensor.to(self.device, memory_format=self._format, copy=True)
        return tensor.to(self.device, copy=True)

    def dtype_of(self, name: str) -> torch.dtype:
        """The dtype in which an input is wanted."""
        value = self.program.values[name]
        if value.dtype != "float32":
            return getattr(torch, value.dtype)  # type: ignore[no-any-return]
        return torch.float32 if name in self._wide else self.dtype

    def __call__(self, inputs: Mapping[str, Tensor], batch: int) -> list[Tensor]:
        """The outputs; ``inputs``: a tensor [batch, ...] for each input, in its ``dtype_of``."""
        known = {**self._constants, **{name: inputs[name] for name in self.program.inputs}}
        for found, leaving in zip(self.matches, self._last, strict=True):
            arguments = [known[name] if name else None for name in found.node.inputs]
            known[found.node.output] = self._made(found, arguments, known, batch)
            del arguments
            for name in leaving:  # its memory is the next one's
                del known[name]
        return [known[name] for name in self.program.outputs]

    def _made(
        self, found: Match, arguments: Arguments, known: dict[str, Tensor], batch: int
    ) -> Tensor:
        """A node's output; ``known`` gets the concatenation that it is written into."""
        name, call = found.node.output, found.call
        place = self._places.get(name)
        if call.into is not None and name in known:  # a concatenation, most of it there already
            return call.into(arguments, batch, known[name], False)
        if call.into is not None and place is not None:
            return call.into(arguments, batch, self._slot(name, known, batch), place.dense)
        return call.run(arguments, batch)

    def _slot(self, name: str, known: dict[str, Tensor], batch: int) -> Tensor:
        """The channels that a value has in a concatenation, which is allocated when first asked
        for, or is itself channels of another.
        """
        place, channels = self._places[name], self.program.values[name].shape[1]
        if place.of not in known:
            if place.of in self._places:
                known[place.of] = self._slot(place.of, known, batch)
            else:
                sizes = (batch, *self.program.values[place.of].shape[1:])
                known[place.of] = torch.empty(
                    sizes, dtype=self.dtype, device=self.device, memory_format=self._format
                )
        return known[place.of].narrow(1, place.start, channels)

    def describe(self) -> str:
        """A line a node: the rule that took it, and why the rules before it did not."""
        width = max((len(found.rule) for found in self.matches), default=0)
        lines = []
        for found in self.matches:
            reasons = "".join(f"  ({rule}: {why})" for rule, why in found.refusals)
            lines.append(f"{found.rule:<{width}}  {found.node.output} = {found.node.op}{reasons}")
        return "\n".join(lines)


def _stay_float32(program: Program, matches: Sequence[Match]) -> frozenset[str]:
    """Constants and inputs that all of their readers take in float32."""
    free = {*program.inputs, *program.constants} - set(program.outputs)
    for found in matches:
        for k, name in enumerate(found.node.inputs):
            if k not in found.call.float32:
                free.discard(name)
    return frozenset(free)


def _last_uses(program: Program) -> list[list[str]]:
    """For each node the made values that nobody reads after it."""
    last: dict[str, int] = {}
    for k, node in enumerate(program.nodes):
        for name in (*filter(None, node.inputs), node.output):
            last[name] = k
    made = {node.output for node in program.nodes} - set(program.outputs)
    leaving: list[list[str]] = [[] for _ in program.nodes]
    for name in made:
        leaving[last[name]].append(name)
    return leaving
