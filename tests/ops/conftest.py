"""Files test_*_triton.py run in a Triton interpreter, which is chosen when triton is imported: in
a Python of their own (test_interpreted.py), so that no other test gets the interpreter."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*_triton.py"]
