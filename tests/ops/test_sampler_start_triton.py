"""kernels/sampler_start.py in Triton's interpreter: the tests are start_checks.py's.

Run by test_interpreted.py, or by itself with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import os

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("needs TRITON_INTERPRET=1", allow_module_level=True)

pytest.register_assert_rewrite("tests.ops.start_checks", "tests.ops.update_state")
from tests.ops.start_checks import *  # noqa: F403
