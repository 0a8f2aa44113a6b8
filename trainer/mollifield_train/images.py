"""Structures of a file, labels not looked at."""

from pathlib import Path
from typing import cast

import ase.io
from ase import Atoms


def read_images(path: Path, who: str = "") -> list[Atoms]:
    """All frames of a file in any format that ASE reads.

    Raises ValueError, with `who` and the file in it, where it cannot.
    """
    try:
        return cast(list[Atoms], ase.io.read(path, index=":"))
    except Exception as error:  # ase.io raises whatever its formats raise
        raise ValueError(f"{who}{path}: cannot read frames: {error}") from error
