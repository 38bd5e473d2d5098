"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    from torch import Tensor


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes beside ``path``, then renames: an interrupted write leaves the old file as it was."""
    from safetensors.torch import save_file

    partial = path.with_name(path.name + ".partial")
    try:
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata=metadata)
        # save_file makes it readable by its owner alone; give it what any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise FastdiffError(f"cannot write {path} ({error})") from error
