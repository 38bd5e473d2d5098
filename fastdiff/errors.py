"""The one exception type that wrong input raises."""

from __future__ import annotations


class FastdiffError(ValueError):
    """A wrong argument, file or request, told in one sentence.

    The sentence names the argument, what was expected and what came. The command line prints
    it and exits with 2; nothing else of the package prints or exits.
    """
