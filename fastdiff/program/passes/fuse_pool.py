"""fuse_pool: pools into the convolutions that make what they pool.

A U-Net's way down ends each level with a convolution and a pool that reads all of it to write a
quarter. As the convolution's attribute ``pool`` it happens behind the epilogue while the outputs
are still at hand, and the large image is never written. A convolution takes a pool whose windows
stand side by side, divide its output, and which alone reads it: for another reader (a skip
connection from before the pool) the image would have to be written all the same. A pool with an
epilogue stays as it is: a convolution has one, before its pool.
"""

from __future__ import annotations

from dataclasses import replace

from fastdiff.program.ir import POOL_HOSTS, Node, Program


def fuse_pool(program: Program) -> Program:
    """``program`` with pools in the convolutions before them; the numbers are the same.

    Comes after ``fuse_epilogue``, since what is behind a pool cannot go into the epilogue.
    """
    readers = program.readers()
    made: dict[str, Node] = {}
    for node in program.nodes:
        made[node.output] = node
        before = made.get(node.inputs[0]) if node.op == "pool" else None
        if before is not None and _takes(program, before, node, readers):
            del made[before.output]
            pool = (node.attributes["kind"], node.attributes["kernel"])
            attributes = {**before.attributes, "pool": pool}
            made[node.output] = replace(before, output=node.output, attributes=attributes)
    return program.with_nodes(made.values()).check()


def _takes(program: Program, before: Node, pool: Node, readers: dict[str, list[Node]]) -> bool:
    """Whether the op that makes the pool's input can take it."""
    kernel = pool.attributes["kernel"]
    return (
        before.op in POOL_HOSTS
        and "pool" not in before.attributes
        and "epilogue" not in pool.attributes
        and len(readers[before.output]) == 1
        and before.output not in program.outputs
        and pool.attributes["stride"] == kernel
        and pool.attributes["padding"] == (0, 0)
        and all(
            size % window == 0
            for size, window in zip(program.values[before.output].shape[2:], kernel, strict=True)
        )
    )
