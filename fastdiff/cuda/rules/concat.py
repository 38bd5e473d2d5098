"""join_concat: channels of images side by side without a copy.

The concatenation is allocated before its inputs are made, and the kernels that make them write
their channels of it themselves, in either memory format. Where others read an input, too, as they
do a skip connection, the kernel also writes it densely: cuDNN would copy a slice before it read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastdiff.cuda.rules.base import Arguments, Call, Match
from fastdiff.cuda.rules.elementwise import one_pass
from fastdiff.program.ir import BATCH, Node, Program

NAME = "join_concat"


@dataclass(frozen=True)
class Place:
    """A value's channels of the concatenation ``of``, from ``start``; ``dense``: it is also needed
    as a tensor of its own.
    """

    of: str
    start: int
    dense: bool


def join_concat(
    program: Program, matches: Sequence[Match]
) -> tuple[list[Match], Mapping[str, Place]]:
    """The matches of all nodes, in their order, after this rule; and which values are written into
    a concatenation.

    Runs after the other rules, since it changes what is made as well as what is joined. Inputs that
    no kernel of ours makes are copied, which the match's refusals say; a concatenation with more
    than one of these stays torch's, whose one launch copies all.
    """
    made = {found.node.output: found for found in matches}
    places: dict[str, Place] = {}
    for name, found in list(made.items()):
        if found.node.op != "concat":
            continue
        why = _unfit(found.node, program)
        if why is not None:
            made[name] = _refuse(found, why)
            continue
        writers, copied = _sort(found.node, program, made, places)
        told = [f"{left or 'nothing'} is copied: {why}" for left, why in copied]
        if not writers:
            made[name] = _refuse(found, f"no kernel of ours makes any of it; {'; '.join(told)}")
        elif len(copied) > 1:
            made[name] = _refuse(
                found, f"{len(copied)} copies instead of torch's one launch; {'; '.join(told)}"
            )
        else:
            made.update((writer.node.output, writer) for writer, _ in writers)
            places.update((writer.node.output, place) for writer, place in writers)
            indices = {found.node.inputs.index(writer.node.output) for writer, _ in writers}
            call = _call(found, program, indices)
            made[name] = Match(found.node, NAME, call, tuple((NAME, text) for text in told))
    return list(made.values()), places


def _unfit(node: Node, program: Program) -> str | None:
    value = program.values[node.output]
    if len(value.shape) != 4 or node.attributes["dim"] != 1:
        return f"{value} along dimension {node.attributes['dim']}, not images by their channels"
    if value.shape[0] != BATCH or value.dtype != "float32":
        return f"{value} is no batch of images"
    return None


def _refuse(found: Match, why: str) -> Match:
    return replace(found, refusals=(*found.refusals, (NAME, why)))


def _sort(
    node: Node, program: Program, made: Mapping[str, Match], places: Mapping[str, Place]
) -> tuple[list[tuple[Match, Place]], list[tuple[str, str]]]:
    """The matches that write their channels, and the inputs that do not, with the reason."""
    writers: list[tuple[Match, Place]] = []
    copied: list[tuple[str, str]] = []
    readers, start = program.readers(), 0
    for k, name in enumerate(node.inputs):
        others = [reader for reader in readers[name] if reader is not node]
        place = Place(node.output, start, bool(others) or name in program.outputs)
        start += program.values[name].shape[1]
        writer: Match | str
        if name in node.inputs[:k]:
            writer = "it is there twice"
        elif name in places:
            writer = f"{places[name].of} has its channels already"
        elif name not in made:
            writer = "it is made elsewhere"
        else:
            writer = _writer(made[name], program, place.dense)
        if isinstance(writer, str):
            copied.append((name, writer))
        else:
            writers.append((writer, place))
    return writers, copied


def _writer(found: Match, program: Program, dense: bool) -> Match | str:
    """The match that makes a value of a concatenation, able to write it there; or why not."""
    if found.call.into is not None:
        if found.rule == NAME and dense:
            return "others read this concatenation, too"
        return found
    if found.node.op == "binary":  # alone our kernel gains nothing, with the copy it does
        call = one_pass(found.node, program)
        if isinstance(call, Call):
            return Match(found.node, "fuse_elementwise", replace(call, float32=frozenset()), ())
    if "pool" in found.node.attributes:
        return f"the pool behind {found.node.op} is torch's"
    return f"{found.node.op} by {found.rule} is written densely"


def _call(found: Match, program: Program, written: set[int]) -> Call:
    """The concatenation where inputs ``written`` are in it already; ``into`` copies the others."""
    sizes = [program.values[name].shape[1] for name in found.node.inputs]

    def into(arguments: Arguments, batch: int, slot: Tensor, dense: bool) -> Tensor:
        parts = torch.split(slot, sizes, dim=1)
        for k, (part, argument) in enumerate(zip(parts, arguments, strict=True)):
            if k not in written and argument is not None:
                part.copy_(argument)
        return slot

    return Call(found.call.run, found.call.float32, into)
