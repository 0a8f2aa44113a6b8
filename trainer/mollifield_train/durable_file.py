"""Files that exist whole or not at all, whatever kills the process."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name, flush to the disk, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with open(unfinished, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values with `torch.save`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def read_tensors(path: str | Path) -> dict[str, Any]:
    """What `write_tensors` wrote, on the CPU; no code is unpickled.

    Raises ValueError if the file is missing or damaged.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: truncated, or not a checkpoint of this project") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a checkpoint, holds a {type(content).__name__}")
    return content
