"""What to compile of each Triton kernel: one file a kernel, each with its list ``CASES``."""

from __future__ import annotations

import importlib
import pkgutil

from .kernel import Kernel

KERNELS: list[Kernel] = []
for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if _module not in ("kernel", "slot"):
        KERNELS += importlib.import_module(f"{__name__}.{_module}").CASES
