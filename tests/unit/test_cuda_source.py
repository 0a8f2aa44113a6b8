"""The kernels for GPUs without a GPU: their source, compiled for the CPU, against the CPU's own kernels.

They run where the environment says MOLLIFIELD_ISA=cuda-source, in a process of its own; blocks and threads are loops
there (plugin/cpp/operators/cuda/host_shim.cpp). Where NVRTC is installed (`pip install nvidia-cuda-nvrtc`), which needs
no GPU either, it compiles all these sources for one.
"""

import ctypes
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mollifield import has_native

from ..conftest import build_potential, eager_engine, sheared_crystal
from .test_instruction_sets import worst_deviations
from .test_reference import (
    DTYPES,
    MEMBERS_GEOMETRIES,
    all_answers,
    answers,
    checked,
    derivatives,
    errors,
    operators,
    same,
)

assert has_native(), "libmollifield.so must be built for the tests"
OPS = torch.ops.mollifield
# A warp's width, where sums over channels are padded for the banks of shared memory, and more than a block has threads.
WIDTHS = (32, 130)


def run(code: str, cache: Path, **environment: str) -> dict:
    """What `code` writes, in a process whose kernels are those for GPUs."""
    code = f"import sys, torch, {__name__} as module; torch.save(module.{code}, sys.stdout.buffer)"
    variables = {"MOLLIFIELD_ISA": "cuda-source", "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return torch.load(io.BytesIO(done.stdout))


def equality() -> dict:
    """What the tests ask, whose process this is."""
    return {
        "name": OPS.instruction_set(),
        "answers": all_answers(),
        "checked": checked(),
        "errors": errors(),
        "changed": changed_edges(),
    }


def deviations() -> dict[str, float]:
    return worst_deviations(WIDTHS)


def changed_edges() -> list[torch.Tensor]:
    """What one atom receives before and after a change to the same list of edges, and on another list."""
    x, y, w = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1), torch.ones(1, 2, 1), torch.ones(1, 2, 1)
    index, table = torch.tensor([[0, 0], [1, 1]]), (torch.zeros(1, 4, dtype=torch.int64), torch.ones(1))
    found = [OPS.convolution(x, y, w, index, 1, *table)]
    index[1, 1] = 2
    found.append(OPS.convolution(x, y, w, index, 1, *table))
    found.append(OPS.convolution(x, y, w, index.flip(1), 1, *table))
    table[1].mul_(2.0)
    return [*found, OPS.convolution(x, y, w, index, 1, *table)]


def of_a_model() -> list[torch.Tensor]:
    """Energies and forces of a committee with the default architecture."""
    model = build_potential(torch.float64, 2, messages="scattered", correlation=3)
    answer = eager_engine(model)(sheared_crystal())
    return [torch.as_tensor(answer.atomic_energies), torch.as_tensor(answer.forces)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels are kept, for this module alone."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(cache: Path) -> dict:
    return run("equality()", cache)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("members", "geometries"), MEMBERS_GEOMETRIES)
def test_kernels_equal_those_of_the_cpu(found: dict, members: int, geometries: int, dtype: torch.dtype) -> None:
    """Values, first and second derivatives of every operator."""
    assert OPS.instruction_set() != "cuda-source" == found["name"]
    ours, theirs = found["answers"][members, geometries, dtype], answers(members, geometries, dtype)
    same(ours, theirs, dtype)
    parts = [(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True)]
    assert not all(torch.equal(*pair) for pair in parts)  # other sums in another order: not one of them twice


def test_derivatives_are_those_of_the_values(found: dict) -> None:
    assert len(found["checked"]) == 7 + 2 * 3
    assert all(found["checked"].values())


def test_errors_are_those_of_the_cpu(found: dict) -> None:
    assert found["errors"] == errors()


def test_what_was_remembered_of_changed_tensors_is_forgotten(found: dict) -> None:
    assert [float(value) for value in found["changed"]] == [20.0, 110.0, 110.0, 220.0]
    assert [float(value) for value in changed_edges()] == [20.0, 110.0, 110.0, 220.0]


def test_widths_equal_the_reference(cache: Path) -> None:
    worst = run("deviations()", cache)
    assert len(worst) == 9 * len(WIDTHS) * len(DTYPES)
    assert {case: ratio for case, ratio in worst.items() if not ratio < 1.0} == {}


def test_a_model_gives_the_same_energies_and_forces(cache: Path) -> None:
    for ours, theirs in zip(run("of_a_model()", cache), of_a_model(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11 * float(theirs.abs().max()), rtol=0)


def test_threads_and_blocks_may_run_in_any_order(found: dict, cache: Path) -> None:
    """To the last bit: no sum is shared between threads, and none reads before a barrier what another writes."""
    reverse = run("answers(3, 1, torch.float32)", cache, MOLLIFIELD_HOST_SHIM_FLAGS="-DMOLLIFIELD_REVERSED")
    for name, parts in found["answers"][3, 1, torch.float32].items():
        assert all(torch.equal(*pair) for pair in zip(parts, reverse[name], strict=True)), name


def test_kernels_touch_no_memory_but_their_own(cache: Path) -> None:
    """Under AddressSanitizer and UndefinedBehaviorSanitizer, which end the process at the first finding."""
    compiler = os.environ.get("CXX", "c++")
    paths = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    if not all(Path(path).is_absolute() for path in paths):
        pytest.skip(f"{compiler} has no AddressSanitizer")
    environment = {
        "MOLLIFIELD_HOST_SHIM_FLAGS": "-fsanitize=address,undefined -fno-sanitize-recover=all -g",
        "LD_PRELOAD": " ".join(paths),
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99",
    }
    same(run("small_answers()", cache, **environment), small_answers(), torch.float32)
    with pytest.raises(RuntimeError, match="heap-buffer-overflow"):
        run("too_short()", cache, **environment)


def small_answers() -> dict[str, list[torch.Tensor]]:
    """Of all operators, for a table that compiles fast."""
    small = operators(3, 1, torch.float32, l=1, degrees=(0, 2))
    return {name: derivatives(name, *small[name]) for name in small}


def too_short() -> dict[str, torch.Tensor]:
    """What the sanitizer has to find: a matrix whose memory ends before it does."""
    weight = torch.zeros(1, 25)
    weight.untyped_storage().resize_(40)
    return {"linear": OPS.linear(torch.zeros(1, 3, 1, 5), weight, [1], 5, 5, 1.0)}


def test_compiled_kernels_are_kept(found: dict, cache: Path, tmp_path: Path) -> None:
    """With their source beside them; a compiler that cannot compile is named, with what it says."""
    again = run("answers(1, 1, torch.float32)", cache, CXX="false")
    for name, parts in found["answers"][1, 1, torch.float32].items():
        assert all(torch.equal(*pair) for pair in zip(parts, again[name], strict=True)), name
    kept = sorted((cache / "mollifield").iterdir())
    assert {path.suffix for path in kept} == {".so", ".cu"}
    with pytest.raises(RuntimeError, match="false could not compile kernels"):
        run("answers(1, 1, torch.float32)", tmp_path, CXX="false")


def nvrtc() -> ctypes.CDLL | None:
    """NVIDIA's compiler, of its wheel or of torch's."""
    for package in ("nvidia.cu13", "nvidia.cuda_nvrtc"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for path in sorted(Path(folder).glob("lib/libnvrtc.so.*")):
                return ctypes.CDLL(str(path))
    return None


def compiled(compiler: ctypes.CDLL, source: str) -> str:
    """The log of a compilation for an H100 or H200."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    compiler.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    words = [b"--gpu-architecture=sm_90", b"--std=c++17", b"--ptxas-options=-v"]
    code = compiler.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
    compiler.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    compiler.nvrtcGetProgramLog(program, log)
    compiler.nvrtcDestroyProgram(ctypes.byref(program))
    assert code == 0, log.value.decode()
    return log.value.decode()


def test_nvrtc_compiles_the_sources(found: dict, cache: Path) -> None:
    """With no more than a few words of registers spilt to memory, at odd widths."""
    compiler = nvrtc()
    if compiler is None:
        pytest.skip("no NVRTC here: pip install nvidia-cuda-nvrtc")
    sources = {path.read_text() for path in (cache / "mollifield").glob("*.cu")}
    assert len(sources) > 50
    for source in sources:
        log = compiled(compiler, source)
        spilt = re.findall(r"(\d+) bytes spill", log)
        assert spilt, log
        assert max(map(int, spilt)) < 64, log
