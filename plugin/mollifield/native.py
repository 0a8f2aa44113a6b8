"""The native operators (plugin/cpp/operators): found, loaded once, or done without."""

from functools import cache
from pathlib import Path

import torch

from .installation import built_with, check_torch

LIBRARY = Path(__file__).with_name("libmollifield.so")


@cache
def has_native() -> bool:
    """Whether `torch.ops.mollifield` is there; loads `libmollifield.so` at the first call.

    Without it models train with `backend: e3nn`, and files exported with the native operators are
    refused with a clear error. Raises `OSError` when the library is built but can't be loaded, or was built with
    another feature release of torch: that is never passed over in silence.
    """
    if not LIBRARY.is_file():
        return False
    check_torch(built_with().get("torch"), torch.__version__)
    torch.ops.load_library(str(LIBRARY))
    return True
