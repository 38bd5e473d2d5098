"""trace: an ``nn.Module`` through torch.export to a Program.

torch.export gives a graph of aten ops on symbolic shapes; ``aten.py`` says what each of them is in
the ops of a program. What depends on weights alone (frequencies of a time embedding, masks) is
computed here and becomes a constant.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from fastdiff.errors import FastdiffError
from fastdiff.program.aten import HANDLERS, UNDONE
from fastdiff.program.ir import BATCH, Node, Program, Shape, Value
from fastdiff.program.reference import run

# Modules guard on batches (diffusers' U-Nets on fewer than 64), so the trace is over a few and
# the program is then held against the module at a batch beyond them.
MIN_BATCH, MAX_BATCH = 2, 32
BEYOND = 67
TOLERANCE = 1e-4  # relative to the largest output, float32 on both sides
DTYPES = {torch.float32: "float32", torch.int64: "int64"}


def trace(module: nn.Module, example: Mapping[str, Tensor], name: str = "model") -> Program:
    """The program of ``module``, called with the values of ``example`` in their order.

    ``example``: tensors [2, ...] whose first dimension is the batch; its keys name the program's
    inputs. Raises FastdiffError where the module cannot be exported, holds an op that programs do
    not have (with the op and the module's path), mixes the batch with another dimension, or where
    program and module disagree on random inputs.
    """
    module = module.eval()
    exported = _export(module, example)
    program = _Tracer(exported, tuple(example), name).program()
    for batch in (MIN_BATCH + 1, BEYOND):
        _compare(module, program, example, batch)
    return program


def _export(module: nn.Module, example: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=MIN_BATCH, max=MAX_BATCH)
    shapes = tuple({0: batch} for _ in example)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch warns of its own internals here
            exported = torch.export.export(module, tuple(example.values()), dynamic_shapes=shapes)
            plain: torch.export.ExportedProgram = exported.run_decompositions({})
            return plain
    except Exception as error:  # whatever a foreign module raises while it is looked at
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise FastdiffError(
            f"model: torch.export cannot trace {type(module).__name__} ({reason[0]}); backend "
            "'eager' can run it"
        ) from error


class _Tracer:
    """Walks an exported graph once. What handlers need of it: ``emit``, ``constant``, ``shape``.

    ``padded``: of an image with zeros around it, the image and how many are before and after.
    """

    def __init__(
        self, exported: torch.export.ExportedProgram, inputs: tuple[str, ...], name: str
    ) -> None:
        self._exported, self._inputs, self._name = exported, inputs, name
        self._values: dict[str, Value] = {}
        self._constants: dict[str, Tensor] = {}
        self._nodes: list[Node] = []
        self._known: dict[fx.Node, Any] = {}  # a name, a Tensor, a number or a list of those
        self._path = ""
        self.padded: dict[str, tuple[str, tuple[int, int], tuple[int, int]]] = {}

    def program(self) -> Program:
        """The program of the whole graph."""
        state = {**self._exported.state_dict, **self._exported.constants}
        signature = self._exported.graph_signature
        weights = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        names = iter(self._inputs)
        outputs: list[str] = []
        for node in self._exported.graph.nodes:
            if node.op == "placeholder":
                if node.name in weights:
                    self._known[node] = state[weights[node.name]].detach()
                    self._constants[weights[node.name]] = self._known[node]
                else:
                    given = next(names)
                    self._known[node] = given
                    self._values[given] = Value(self.shape(node), self._dtype(node))
            elif node.op == "output":
                outputs = [self.name_of(self._known[n]) for n in node.args[0]]
            else:
                self._call(node)
        used = {name for n in self._nodes for name in n.inputs} | set(outputs)
        constants = {
            k: v.detach().cpu().contiguous().numpy()
            for k, v in self._constants.items()
            if k in used
        }
        values = {
            **self._values,
            **{k: Value(tuple(a.shape), str(a.dtype)) for k, a in constants.items()},
        }
        program = Program(
            self._name, self._inputs, tuple(outputs), values, constants, tuple(self._nodes)
        )
        return program.with_nodes(program.nodes).check()

    def _call(self, node: fx.Node) -> None:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        self._path = stack[-1][0] if stack else ""
        if node.target is operator.getitem:
            self._known[node] = self._resolved(node.args[0])[node.args[1]]
            return
        op = str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))
        if op.startswith("_assert") or op == "sym_constrain_range_for_size":
            return
        given = self._arguments(node)
        if op == "sym_size":
            size = node.meta["val"]
            self._known[node] = size if isinstance(size, int) else BATCH
        elif self._is_constant(node, given):
            with torch.no_grad():
                self._known[node] = self._computed(node)
        elif op in HANDLERS:
            self._known[node] = HANDLERS[op](self, node, given)
        elif op in UNDONE:
            self._known[node] = given[UNDONE[op]]
        else:
            raise FastdiffError(
                f"model: expected ops that programs have, got {op} at "
                f"{self._path or 'the top module'} (backend 'eager' can run it)"
            )

    def _arguments(self, node: fx.Node) -> dict[str, Any]:
        """The call's arguments by their names in the op's schema, defaults filled in."""
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            return {str(k): self._resolved(v) for k, v in enumerate(node.args)}
        given: dict[str, Any] = {}
        for k, argument in enumerate(schema.arguments):
            value = node.args[k] if k < len(node.args) else node.kwargs.get(argument.name)
            if value is None and argument.has_default_value() and k >= len(node.args):
                value = node.kwargs.get(argument.name, argument.default_value)
            given[argument.name] = self._resolved(value)
        return given

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            return self._known[value]
        if isinstance(value, (list, tuple)):
            return [self._resolved(v) for v in value]
        return value

    def _is_constant(self, node: fx.Node, given: Mapping[str, Any]) -> bool:
        """Whether nothing of the call depends on an input or on the batch."""
        flat: list[Any] = []
        for value in given.values():
            flat += value if isinstance(value, list) else [value]
        if any(isinstance(v, str) and v in self._values for v in flat):
            return False
        if any(isinstance(v, int) and v == BATCH for v in flat):
            found = node.meta.get("val")
            return isinstance(found, Tensor) and all(isinstance(d, int) for d in found.shape)
        return True

    def _computed(self, node: fx.Node) -> Any:
        def real(value: Any) -> Any:
            return self._known[value] if isinstance(value, fx.Node) else value

        args = fx.node.map_aggregate(node.args, real)
        kwargs = fx.node.map_aggregate(node.kwargs, real)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    # What handlers use.

    def shape(self, node: fx.Node, output: int | None = None) -> Shape:
        """The shape of a node's value, or of one of its outputs."""
        value = node.meta["val"]
        value = value if output is None else value[output]
        found = []
        for k, size in enumerate(value.shape):
            if isinstance(size, int):
                found.append(size)
            elif k == 0 and str(size.node.expr).isidentifier():
                found.append(BATCH)
            else:
                raise FastdiffError(
                    "model: expected the batch as a first dimension alone, "
                    f"got {tuple(value.shape)} at {self._path or 'the top module'} "
                    "(backend 'eager' can run it)"
                )
        return tuple(found)

    def emit(
        self,
        node: fx.Node,
        op: str,
        inputs: list[Any],
        /,
        output: int | None = None,
        **attributes: Any,
    ) -> str:
        """A new node of the program for (one output of) an aten node; its output's name."""
        return self.emit_shaped(
            op, inputs, self.shape(node, output), self._dtype(node), **attributes
        )

    def emit_shaped(
        self, op: str, inputs: list[Any], shape: Shape, dtype: str = "float32", /, **attributes: Any
    ) -> str:
        """The same where no aten node has the value's shape."""
        name = f"v{len(self._nodes) + 1}"
        names = tuple("" if value is None else self.name_of(value) for value in inputs)
        self._nodes.append(Node(op, names, name, attributes, self._path))
        self._values[name] = Value(shape, dtype)
        return name

    def name_of(self, value: Any) -> str:
        """The name of a value; a tensor or number that has none yet becomes a constant."""
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)):
            value = torch.tensor(float(value), dtype=torch.float32)
        if not isinstance(value, Tensor):
            raise FastdiffError(f"model: expected tensors and numbers, got {value!r}")
        for name, tensor in self._constants.items():
            if tensor is value:
                return name
        if value.dtype == torch.float64:
            value = value.float()
        name = f"c{len(self._constants) + 1}"
        self._constants[name] = value
        return name

    def value(self, name: str) -> Value:
        """Shape and dtype of a named value."""
        return self._values[name]

    def _dtype(self, node: fx.Node) -> str:
        value = node.meta["val"]
        dtype = value.dtype if isinstance(value, Tensor) else value[0].dtype
        if dtype not in DTYPES:
            raise FastdiffError(
                f"model: expected float32 or int64 values, got {dtype} at "
                f"{self._path or 'the top module'} (backend 'eager' can run it)"
            )
        return DTYPES[dtype]


def _compare(
    module: nn.Module, program: Program, example: Mapping[str, Tensor], batch: int
) -> None:
    generator = torch.Generator().manual_seed(batch)
    given = {}
    for name, tensor in example.items():
        # As large as the example's values, which know what the input means (times up to 999).
        values = torch.rand((batch, *tensor.shape[1:]), generator=generator)
        given[name] = (values * float(tensor.abs().max())).to(tensor.dtype)
    with torch.no_grad():
        expected = module(*given.values())
    got = run(program, given)[0]
    scale = float(expected.abs().max()) or 1.0
    off = float((got - expected).abs().max()) / scale
    if not off < TOLERANCE:
        raise FastdiffError(
            f"model: expected the traced program to equal {type(module).__name__} at batch "
            f"{batch}, they differ by {off:.1e} of the largest output (backend 'eager' can run it)"
        )
