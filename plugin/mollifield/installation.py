"""What the compiled code of this installation was built with, and whether it fits the torch that runs.

CMake leaves `build.json` beside `libmollifield.so`. Compiled code fits one feature release of torch (2.13, say): the
classes that it shares with torch change between these without a link error.
"""

import json
import warnings
from pathlib import Path
from typing import Any

BUILD_FILE = Path(__file__).with_name("build.json")
REBUILD = "`pip install --no-build-isolation --force-reinstall --no-deps .` in the source tree builds it anew"


def built_with(path: Path = BUILD_FILE) -> dict[str, Any]:
    """`torch`, `compiler`, `cxx11_abi`, `instruction_sets` and, with the LAMMPS plugin, the date of `lammps`.

    Empty where nothing is built, or where nothing was said of it.
    """
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return known


def check_torch(built: str | None, running: str) -> None:
    """Whether code that was built with one torch may be loaded into another; None: nobody knows, and nobody minds.

    Raises `OSError` for another feature release, and warns (`RuntimeWarning`) of another patch release, which shares
    its classes. Labels such as +cpu say which devices torch's own kernels were built for: they change nothing here.
    """
    if built is None or _release(built) == _release(running):
        return
    text = f"libmollifield.so was built with torch {built}, and this is torch {running}"
    feature = ".".join(_release(built)[:2])
    if _release(built)[:2] != _release(running)[:2]:
        raise OSError(f"{text}: {REBUILD}; or install torch {feature}")
    warnings.warn(f"{text}, which should do; {REBUILD}", RuntimeWarning, stacklevel=3)


def _release(version: str) -> list[str]:
    return version.split("+")[0].split(".")
