"""A model on a device, by binding times: the four parts of its program as modules."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastdiff.cuda.program_module import ProgramModule
from fastdiff.program.lower import lower
from fastdiff.samplers.table import SamplerTable

if TYPE_CHECKING:
    from fastdiff.models.model import DiffusionModel

MAX_TABLES = 8  # whose row values are kept
Values = dict[str, Tensor]


class Network:
    """``step`` runs in ``dtype``; what rows and requests decide is computed in float32 and read in
    the step's dtype.
    """

    def __init__(
        self,
        model: DiffusionModel,
        device: torch.device,
        dtype: torch.dtype,
        channels_last: bool,
    ) -> None:
        parts = lower(model)
        self.device, self.dtype, self.channels_last = device, dtype, channels_last
        self.sample_shape = model.sample_shape
        self.context_width = model.context_width
        self._row = ProgramModule(parts.row, device)
        self._request = ProgramModule(parts.request, device)
        self._row_request = ProgramModule(parts.row_request, device)
        self.step = ProgramModule(parts.step, device, dtype, channels_last)
        (self._x,) = set(parts.step.inputs) - {
            *parts.row.outputs,
            *parts.request.outputs,
            *parts.row_request.outputs,
            *parts.row.inputs,
            *parts.request.inputs,
        }
        self._tables: OrderedDict[SamplerTable, Values] = OrderedDict()
        self._lock = Lock()

    @property
    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row of each value that a row decides: made ones, and t itself."""
        program = self._row.program
        return {name: program.values[name].shape[1:] for name in self._row_names()}

    def _row_names(self) -> list[str]:
        program = self._row.program
        reads = {*self._row_request.program.inputs, *self.step.program.inputs}
        return [*program.outputs, *(name for name in program.inputs if name in reads)]

    @torch.no_grad()
    def row_values(self, table: SamplerTable) -> Values:
        """What each row decides, float32 [K, ...]: computed once for a table."""
        with self._lock:
            known = self._tables.get(table)
            if known is not None:
                self._tables.move_to_end(table)
                return known
        times = torch.tensor(table["t"].copy(), dtype=torch.float32, device=self.device)
        inputs = dict.fromkeys(self._row.program.inputs, times)
        made = dict(zip(self._row.program.outputs, self._row(inputs, len(table)), strict=True))
        values = {name: made.get(name, times) for name in self._row_names()}
        with self._lock:
            self._tables[table] = values
            while len(self._tables) > MAX_TABLES:
                self._tables.popitem(last=False)
        return values

    def request_values(self, context: Tensor | None, batch: int) -> Values:
        """What each sample's context decides, float32 [batch, ...]."""
        program = self._request.program
        inputs = {name: context for name in program.inputs if context is not None}
        made = dict(zip(program.outputs, self._request(inputs, batch), strict=True))
        return {**inputs, **made}

    def ask(self, x: Tensor, rows: Tensor, row_values: Values, request_values: Values) -> Tensor:
        """m of x [batch, C, H, W] in the step's dtype; sample b is at row ``rows[b]``, int32.

        ``row_values``: as above, with at least as many rows as any of ``rows`` says.
        """
        values = {name: value.index_select(0, rows) for name, value in row_values.items()}
        values.update(request_values)
        both = self._row_request.program
        if both.outputs:
            inputs = {name: values[name] for name in both.inputs}
            values.update(zip(both.outputs, self._row_request(inputs, len(x)), strict=True))
        inputs = {
            name: x if name == self._x else values[name].to(self.step.dtype_of(name))
            for name in self.step.program.inputs
        }
        (m,) = self.step(inputs, len(x))
        return m

    def describe(self) -> str:
        """What became of each op of the step."""
        return self.step.describe()
