"""sampler_update and sampler_start on CPU tensors without an interpreter: the reference.

It is plain torch, and passes the same tests as the kernels.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

from fastdiff.kernels import launch

if launch.INTERPRETED:
    pytest.skip("Triton was imported with TRITON_INTERPRET=1", allow_module_level=True)

pytest.register_assert_rewrite(
    *(f"tests.ops.{name}" for name in ("start_checks", "update_checks", "update_runs")),
    *(f"tests.ops.{name}" for name in ("update_state", "update_steps")),
)
from tests.ops.start_checks import *  # noqa: F403
from tests.ops.update_checks import *  # noqa: F403
