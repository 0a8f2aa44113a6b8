"""Package layout (three source roots), the CMake build of the C++ side, and what a wheel of it fits.

All other metadata is in pyproject.toml.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SOURCE_ROOTS = {"mollifield": "plugin", "mollifield_train": "trainer", "mollifield_lammps": "lammps_interface"}


# Exact versions, direct dependencies only, are in requirements.txt; these are what the code needs.
# They run, describe and check an exported model; what makes one is in the extra [train].
DEPENDENCIES = ["numpy", "ase>=3.23", "shtab", "tqdm", "vesin"]


def torch_requirement() -> str:
    """Of the feature release that is here when something is compiled; of any that will do in a source archive."""
    if "sdist" in sys.argv:
        return "torch>=2.6"
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "torch>=2.6"
    return f"torch=={'.'.join(version.split('.')[:2])}.*"


def program(name: str) -> str:
    """Path of `name` beside the running python (the cmake and ninja wheels), else on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is missing: pip install {name}")
    return found


class CMakeBuild(build_ext):
    """Builds libmollifield.so and mollifieldplugin.so into their packages."""

    def run(self):
        target = ROOT if self.inplace else Path(self.build_lib).resolve()
        core, lammps = (
            target / (SOURCE_ROOTS[name] if self.inplace else "") / name for name in ("mollifield", "mollifield_lammps")
        )
        build = ROOT / "build" / ("cmake" if self.inplace else "wheel")  # each keeps its own options
        configure = [
            program("cmake"),
            "-G",
            "Ninja",
            "-S",
            str(ROOT),
            "-B",
            str(build),
            f"-DCMAKE_MAKE_PROGRAM={program('ninja')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DMOLLIFIELD_MOVABLE={'OFF' if self.inplace else 'ON'}",
            f"-DMOLLIFIELD_CORE_DIR={core}",
            f"-DMOLLIFIELD_LAMMPS_DIR={lammps}",
            *os.environ.get("MOLLIFIELD_CMAKE_ARGS", "").split(),
        ]
        subprocess.run(configure, check=True)
        subprocess.run([program("cmake"), "--build", str(build)], check=True)

    def get_outputs(self):
        return []


class PlatformWheel(bdist_wheel):
    """One for every Python: the compiled code knows torch and LAMMPS, and no Python."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setup(
    install_requires=[torch_requirement(), *DEPENDENCIES],
    package_dir={name: f"{root}/{name}" for name, root in SOURCE_ROOTS.items()},
    packages=[
        package for name, root in SOURCE_ROOTS.items() for package in find_packages(root, include=[name, f"{name}.*"])
    ],
    # A name is needed for build_ext to run at all; CMake decides what is built.
    ext_modules=[Extension("mollifield.libmollifield", sources=[])],
    cmdclass={"build_ext": CMakeBuild, "bdist_wheel": PlatformWheel},
)
