"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, renamed to ``path`` in the end.

    An interrupted write leaves the old file as it was; a failed one raises FastdiffError.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise FastdiffError(f"cannot write {path} ({error})") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Writes ``data`` as the whole file."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file."""
    from safetensors.torch import save_file

    with replacing(path) as partial:
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata=metadata)
        # save_file makes it readable by its owner alone; give it what any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
