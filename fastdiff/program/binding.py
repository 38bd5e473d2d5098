"""Binding times: a program split by what each node depends on.

    constant       weights alone                       computed when the program is made
    row            t                                   once a table: a value for each of its rows
    request        context                             once a request: a value for each context
    row_request    t and context, but not x            once a request, for each row and context
    step           x                                   in the loop, and only this

The parts are programs. A value that one part makes and a later one reads is an output there and an
input here. ``row`` is run with the table's times as its batch, and the step takes, for each sample,
the row that the sample is at; so every part has the one batch dimension that programs know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fastdiff.program.ir import BATCH, Program

TIMES: Final = ("row", "request", "row_request", "step")
# Which part may read what another has made.
READS: Final[Mapping[str, frozenset[str]]] = {
    "row": frozenset(("row",)),
    "request": frozenset(("request",)),
    "row_request": frozenset(("row", "request", "row_request")),
    "step": frozenset(TIMES),
}


@dataclass(frozen=True)
class Split:
    """The four parts; a part without nodes has no outputs."""

    row: Program
    request: Program
    row_request: Program
    step: Program

    def parts(self) -> dict[str, Program]:
        """The parts by their binding time, in the order in which they run."""
        return {time: getattr(self, time) for time in TIMES}

    def __str__(self) -> str:
        texts = []
        for time, part in self.parts().items():
            if part.nodes:
                texts.append(f"{time}\n{part}")
        return "\n\n".join(texts)


def split(program: Program, t: str = "t", context: str = "context") -> Split:
    """``program`` by binding times; ``t``, ``context``: what those inputs are called in it.

    Every other input is taken for x: bound to the step. A value without any of them that has a
    batch all the same (zeros for every sample) is the request's.
    """
    bound: dict[str, str] = {}
    for name in program.inputs:
        bound[name] = "row" if name == t else "request" if name == context else "step"
    for node in program.nodes:
        times = {bound[name] for name in filter(None, node.inputs) if name in bound}
        if "step" in times:
            bound[node.output] = "step"
        elif times >= {"row", "request"} or "row_request" in times:
            bound[node.output] = "row_request"
        elif times:
            bound[node.output] = times.pop()
        else:
            batched = BATCH in program.values[node.output].shape
            bound[node.output] = "request" if batched else "step"
    made = {node.output for node in program.nodes}
    inputs: dict[str, list[str]] = {time: [] for time in TIMES}
    outputs: dict[str, list[str]] = {time: [] for time in TIMES}

    def needs(time: str, name: str) -> None:
        """``name`` is read at ``time``: an input there, and an output of the part that makes it."""
        if name not in bound or (name in made and bound[name] == time):
            return
        if name not in inputs[time]:
            inputs[time].append(name)
        if name in made and name not in outputs[bound[name]]:
            outputs[bound[name]].append(name)

    for node in program.nodes:
        for name in filter(None, node.inputs):
            needs(bound[node.output], name)
    for name in program.outputs:
        needs("step", name)
    parts = {}
    for time in TIMES:
        ends = list(program.outputs) if time == "step" else outputs[time]
        part = replace(
            program,
            name=program.name if time == "step" else f"{program.name}, {time}",
            inputs=tuple(inputs[time]),
            outputs=tuple(ends),
        )
        nodes = [node for node in program.nodes if bound[node.output] == time]
        parts[time] = part.with_nodes(nodes).check()
    return Split(**parts)
