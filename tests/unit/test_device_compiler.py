"""What compiles kernels for GPUs and launches them, on a machine without one: which calls reach the driver and NVRTC.

Both are stand-ins (`cuda/*.c`) that write their calls down; the current stream is that of a stand-in of torch's CUDA.
Where NVRTC is installed, the real one compiles too: it needs neither driver nor GPU.
"""

import importlib.util
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mollifield.native import LIBRARY

HERE = Path(__file__).parent / "cuda"
PLUGIN = Path(__file__).parents[2] / "plugin"
TORCH = Path(torch.__file__).parent
SOURCE = 'extern "C" __global__ void twice(int number) {}'


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment, timeout=100)


def built(*command: object) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins and the program that compiles and launches."""
    folder = tmp_path_factory.mktemp("cuda")
    for name in ("cuda", "nvrtc"):
        built("gcc", "-shared", "-fPIC", HERE / f"fake_{name}.c", "-o", folder / f"{name}.so")
    places = [LIBRARY.parent, TORCH / "lib"]
    built(
        *("g++", "-std=c++20", "-O0", HERE / "launch.cpp", "-o", folder / "launch", f"-I{PLUGIN / 'cpp'}"),
        *("-isystem", TORCH / "include", *(f"-L{place}" for place in places), "-lmollifield", "-lc10"),
        *("-Wl,--allow-shlib-undefined", *(f"-Wl,-rpath,{place}" for place in places)),
    )
    return folder


@dataclass
class Machine:
    """One with stand-ins for driver and compiler."""

    binaries: Path
    folder: Path

    def __call__(self, source: str = SOURCE, **environment: str) -> list[str]:
        """What the program prints, warnings last."""
        done = self.started(source, **environment)
        out, errors = done.communicate(timeout=100)
        assert done.returncode == 0, errors
        return [*out.splitlines(), *errors.splitlines()]

    def started(self, source: str = SOURCE, **environment: str) -> subprocess.Popen[str]:
        file = self.folder / "source.cu"
        if not file.exists() or file.read_text() != source:  # another may be reading it
            file.write_text(source)
        settings = {
            "MOLLIFIELD_LIBCUDA": str(self.binaries / "cuda.so"),
            "MOLLIFIELD_LIBNVRTC": str(self.binaries / "nvrtc.so"),
            "FAKE_LOG": str(self.folder / "log"),
            "FAKE_CAPABILITY": "90",
            "FAKE_NVRTC_MINOR": "9",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        return subprocess.Popen(
            [self.binaries / "launch", file],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | settings | environment,
        )

    def calls(self) -> list[str]:
        """Since this was asked last."""
        log = self.folder / "log"
        found = [line.strip() for line in log.read_text().splitlines()]
        log.unlink()
        return found

    def compilations(self) -> list[str]:
        return [call for call in self.calls() if call.startswith("nvrtcCompileProgram")]

    def cached(self) -> list[Path]:
        return sorted((self.folder / "cache" / "mollifield").iterdir())


@pytest.fixture
def machine(binaries: Path, tmp_path: Path) -> Machine:
    return Machine(binaries, tmp_path)


def test_source_is_compiled_once_and_launched_on_the_current_stream(machine: Machine) -> None:
    """In the primary context of the device, which is torch's too; an empty grid is no launch."""
    assert machine() == []
    launch = "cuLaunchKernel 6 grid {} 1 threads {} 1 1 shared 0 stream 7 argument 11 extra 0"
    assert machine.calls() == [
        "cuInit 0",
        "cuDeviceGet 1",
        "cuDeviceGetAttribute 75 41",
        "cuDeviceGetAttribute 76 41",
        "nvrtcCompileProgram --gpu-architecture=sm_90 --std=c++17 -lineinfo",
        "cuDeviceGet 1",
        "cuDevicePrimaryCtxRetain 41",
        "cuCtxPushCurrent 1041",
        f"cuModuleLoadData compiled {SOURCE}",
        "cuCtxPopCurrent",
        "cuCtxPushCurrent 1041",
        "cuModuleGetFunction 5 twice",
        launch.format("3 2", 32),
        "cuCtxPopCurrent",
        "cuCtxPushCurrent 1041",
        launch.format("1 1", 64),
        "cuCtxPopCurrent",
    ]


def test_compiled_kernels_are_kept_on_disk(machine: Machine) -> None:
    machine()
    assert len(machine.compilations()) == 1
    machine()
    calls = machine.calls()
    assert not [call for call in calls if call.startswith("nvrtc")]
    assert f"cuModuleLoadData compiled {SOURCE}" in calls
    for other in ({"FAKE_NVRTC_MINOR": "8"}, {"FAKE_CAPABILITY": "80"}, {"source": SOURCE + " // another"}):
        machine(**other)
        assert len(machine.compilations()) == 1, other
    assert len(machine.cached()) == 4


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-3] + b"xyz", lambda b: b"", lambda b: b[:40]])
def test_a_damaged_file_is_compiled_again(machine: Machine, damage: Callable[[bytes], bytes]) -> None:
    machine()
    (file,) = machine.cached()
    whole = file.read_bytes()
    machine.calls()
    file.write_bytes(damage(whole))
    machine()
    assert len(machine.compilations()) == 1
    assert file.read_bytes() == whole and machine.cached() == [file]


def test_ranks_that_start_together_share_the_folder(machine: Machine) -> None:
    for process in [machine.started() for _ in range(4)]:
        assert process.communicate(timeout=100) == ("", "")
    assert len(machine.cached()) == 1
    machine.calls()
    machine()
    assert machine.compilations() == []


def test_a_folder_that_cannot_be_made_is_no_error(machine: Machine) -> None:
    (machine.folder / "file").write_text("")
    assert machine(XDG_CACHE_HOME=str(machine.folder / "file")) == []
    assert len(machine.compilations()) == 1


def test_a_gpu_newer_than_the_compiler_gets_what_the_driver_compiles(machine: Machine) -> None:
    machine(FAKE_CAPABILITY="120")
    assert "--gpu-architecture=compute_90 " in machine.compilations()[0]
    assert machine(FAKE_CAPABILITY="61") == ["NVRTC 12.9 compiles for no GPU of compute capability 6.1"]


def test_errors_carry_the_log_or_name_the_call(machine: Machine) -> None:
    assert machine("wrong") == ["NVRTC 12.9 (sm_90): NVRTC_ERROR_COMPILATION", "mollifield.cu(1): error: expected a ;"]
    assert not (machine.folder / "cache").exists()  # what failed is not kept
    why = "failed: CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was encountered"
    names = {"cuModuleGetFunction": " of twice", "cuLaunchKernel": " of twice"}
    for call in ("cuDevicePrimaryCtxRetain", "cuCtxPushCurrent", "cuModuleLoadData", *names):
        assert machine(FAKE_FAIL=call) == [f"{call}{names.get(call, '')} {why}"]


@pytest.mark.parametrize(
    "missing, told",
    [
        (
            {"MOLLIFIELD_LIBNVRTC": "/nowhere/libnvrtc.so"},
            "no NVRTC.*install nvidia-cuda-nvrtc-cu12.*/nowhere/libnvrtc.so",
        ),
        ({"MOLLIFIELD_LIBCUDA": "/nowhere/libcuda.so"}, "no NVIDIA driver.*install the driver"),
        ({"FAKE_FAIL": "cuInit"}, "cuInit failed: CUDA_ERROR"),
        ({"MOLLIFIELD_LIBCUDA": "libc.so.6"}, "libc.so.6 has no function cuInit"),
    ],
)
def test_without_driver_or_compiler_the_reference_runs(machine: Machine, missing: dict[str, str], told: str) -> None:
    """It gives the same numbers: no error, but one warning that says what to install."""
    first, *warned = machine(**missing)
    assert first == "no compiler"
    assert re.search(f"reference runs there: .*{told}", "\n".join(warned))
    assert len([line for line in warned if "reference runs there" in line]) == 1


def nvrtc() -> Path | None:
    """Of a wheel of NVIDIA's."""
    found = importlib.util.find_spec("nvidia")
    folders = [Path(place) for place in found.submodule_search_locations or []] if found else []
    return next((path for folder in folders for path in sorted(folder.glob("*/lib/libnvrtc.so.1[23]"))), None)


def test_nvrtc_compiles_machine_code(machine: Machine) -> None:
    """The real one, for a GPU of the Hopper kind; the driver is the stand-in."""
    library = nvrtc()
    if library is None:
        pytest.skip("no NVRTC here: pip install nvidia-cuda-nvrtc-cu12")
    real = {"MOLLIFIELD_LIBNVRTC": str(library)}
    assert machine(**real) == []
    assert "cuModuleLoadData ELF" in machine.calls()
    first, *log = machine('extern "C" __global__ void twice(int number) { unknown(); }', **real)
    assert re.fullmatch(r"NVRTC 1\d\.\d+ \(sm_90\): NVRTC_ERROR_COMPILATION", first)
    assert any('identifier "unknown" is undefined' in line for line in log)
