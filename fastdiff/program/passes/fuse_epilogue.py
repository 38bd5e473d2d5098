"""fuse_epilogue: elementwise ops into the op that makes their input.

A convolution's output passes through an activation, a sum with a residual, a product with an
embedding: each by itself would read and write the whole of it. As an *epilogue* they happen while
it is still at hand. An op takes the ones behind it, in their order and up to a number, as long as
nobody else reads what is between, the shape stays the same, and the other operand is there before
the op runs. Of two convolutions that are summed the later one so takes the sum.
"""

from __future__ import annotations

from dataclasses import replace

from fastdiff.program.ir import EPILOGUE_HOSTS, MAX_EPILOGUE, Node, Program

STEPS = ("add", "mul")


def fuse_epilogue(program: Program) -> Program:
    """``program`` with elementwise ops in the epilogues of others; the numbers are the same."""
    readers = program.readers()
    order = {node.output: k for k, node in enumerate(program.nodes)}
    made: dict[str, Node] = {}
    for node in program.nodes:
        host = _host(program, node, made, order, readers)
        if host is None:
            made[node.output] = node
            continue
        before = made.pop(host)
        # The fused op runs where its host did; what it makes is there from then on.
        order[node.output] = order[host]
        made[node.output] = _fused(before, node, host)
    nodes = sorted(made.values(), key=lambda n: order[n.output])
    return program.with_nodes(nodes).check()


def _host(
    program: Program,
    node: Node,
    made: dict[str, Node],
    order: dict[str, int],
    readers: dict[str, list[Node]],
) -> str | None:
    """The value in whose op's epilogue ``node`` can go, or None."""
    steps = node.op == "unary" or (node.op == "binary" and node.attributes["kind"] in STEPS)
    if not steps or "epilogue" in node.attributes or len(set(node.inputs)) < len(node.inputs):
        return None
    found: list[str] = []
    for name in node.inputs:
        before = made.get(name)
        if before is None or before.op not in EPILOGUE_HOSTS or name in program.outputs:
            continue
        others = [other for other in node.inputs if other != name]
        if (
            "pool" not in before.attributes
            and len(readers[name]) == 1
            and len(before.attributes.get("epilogue", ())) < MAX_EPILOGUE
            and program.values[name] == program.values[node.output]
            and all(order.get(other, -1) < order[name] for other in others)
        ):
            found.append(name)
    return max(found, key=lambda name: order[name], default=None)


def _fused(before: Node, node: Node, host: str) -> Node:
    epilogue = before.attributes.get("epilogue", ())
    if node.op == "unary":
        step: tuple[str, str | int] = ("unary", node.attributes["kind"])
        inputs = before.inputs
    else:
        step = (node.attributes["kind"], len(before.inputs))
        inputs = (*before.inputs, *(name for name in node.inputs if name != host))
    return replace(
        before,
        inputs=inputs,
        output=node.output,
        attributes={**before.attributes, "epilogue": (*epilogue, step)},
        path=before.path,
    )
