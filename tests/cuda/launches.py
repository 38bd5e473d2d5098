"""Counts what a GPU would be asked to do: ops that are neither views nor allocations."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

NOTHING = ("aten.empty", "aten.new_empty", "aten._unsafe_view")  # the last is not said to be a view


class Launches(TorchDispatchMode):
    """``counts``: calls by the op's name, a kernel of ours being one of them whatever it does."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        returns = [result.alias_info for result in func._schema.returns]
        view = any(alias is not None and not alias.is_write for alias in returns)
        name = str(func.overloadpacket)
        if not view and not name.startswith(NOTHING):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))
