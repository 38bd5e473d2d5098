"""``python -m fastdiff``: the command line."""

import sys

from fastdiff.cli.main import main

sys.exit(main())
