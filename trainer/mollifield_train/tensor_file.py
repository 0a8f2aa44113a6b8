"""Tensors in files that exist whole or not at all."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from .durable import write_bytes


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values with `torch.save`; a full disk is an OSError that names `path`."""
    buffer = io.BytesIO()  # to a file, torch hides the system's error
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


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
