"""What a stranger would get: contents of archives and wheels, one version, and compiled code that fits its torch."""

import re
import subprocess
import sys
import tarfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
import torch

import mollifield
from mollifield.installation import built_with, check_torch
from mollifield_train.cli import main

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("plugin", "trainer", "lammps_interface")
VIEWER = {f"trainer/mollifield_train/active/viewer/{name}" for name in ("3Dmol-min.js", "LICENSE")}


def sources(*suffixes: str) -> set[str]:
    """Files under the source roots, as paths from the project's folder."""
    found = (path for root in ROOTS for path in (ROOT / root).rglob("*") if path.suffix in suffixes)
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of sources, and the Python part of a wheel under `lib`; nothing is compiled."""
    folder = tmp_path_factory.mktemp("dist")
    words = f"-q egg_info --egg-base {folder} sdist -d {folder} build_py -d {folder / 'lib'}"
    done = subprocess.run(
        [sys.executable, "setup.py", *words.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_archive_has_the_sources_and_nothing_else(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    assert path.name == f"mollifield-{mollifield.__version__}.tar.gz"
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if archive.getmember(name).isfile()}
        facts = archive.extractfile(f"mollifield-{mollifield.__version__}/PKG-INFO")
        assert facts is not None
        metadata = HeaderParser().parsestr(facts.read().decode())
    own = {name for name in names if name.split("/")[0] in ROOTS}
    assert own == sources(".py", ".yaml", ".cpp", ".hpp", ".h", ".inc") | VIEWER
    others = {name for name in names - own if ".egg-info" not in name}
    assert others == {
        *("CHANGELOG.md", "CITATION.cff", "CMakeLists.txt", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"),
        *("cmake/built_with.cmake", "cmake/lammps.cmake"),
        *("pyproject.toml", "requirements.txt", "setup.cfg", "setup.py"),
    }
    assert metadata["Version"] == mollifield.__version__
    assert metadata["License-Expression"] == "GPL-2.0-or-later"
    assert "torch>=2.6" in metadata.get_all("Requires-Dist", [])  # any that compiles


def test_wheel_has_every_module(built: Path) -> None:
    found = {path.relative_to(built / "lib").as_posix() for path in (built / "lib").rglob("*") if path.is_file()}
    assert found == {name.split("/", 1)[1] for name in sources(".py", ".yaml") | VIEWER}


def test_one_version() -> None:
    """In words, too: the changelog begins with it, and the citation names it."""
    version, date = re.findall(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    citation = (ROOT / "CITATION.cff").read_text()
    assert version == mollifield.__version__
    assert f"\nversion: {version}\n" in citation and f"\ndate-released: {date}\n" in citation


def test_what_was_compiled_fits_this_torch(capsys: pytest.CaptureFixture[str]) -> None:
    facts = built_with()
    assert facts["torch"] == torch.__version__
    assert facts["instruction_sets"][0] == "portable" and facts["lammps"] > 20230000
    assert main(["info"]) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["mollifield"].startswith(mollifield.__version__)
    assert printed["torch"].startswith(torch.__version__)
    assert f"torch {facts['torch']}, compiler {facts['compiler']}" in printed["built"]
    assert printed["native"].startswith(torch.ops.mollifield.instruction_set())
    assert "mollifieldplugin.so" in printed["plugin"]


def test_another_torch_is_refused_or_warned_of() -> None:
    check_torch("2.13.0+cpu", "2.13.0+cu130")
    check_torch(None, "2.13.0")
    with pytest.warns(RuntimeWarning, match=r"built with torch 2.13.0\+cpu, and this is torch 2.13.1"):
        check_torch("2.13.0+cpu", "2.13.1")
    for running in ("2.12.0", "2.14.0+cpu", "3.13.0"):
        with pytest.raises(
            OSError, match=rf"and this is torch {re.escape(running)}: .*pip install .*install torch 2.13"
        ):
            check_torch("2.13.0+cpu", running)


def test_a_library_of_another_torch_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`info` says so, and what needs it ends with one line."""
    monkeypatch.setattr("mollifield.native.built_with", lambda: {"torch": "2.0.1"})
    mollifield.has_native.cache_clear()
    try:
        assert main(["info"]) == 0
        assert "native         cannot be loaded: libmollifield.so was built with torch 2.0.1" in capsys.readouterr().out
        model = ROOT / "tests" / "contract" / "files" / "version-2-float64.pt"
        assert main(["info", str(model)]) == 2
        assert "libmollifield.so was built with torch 2.0.1" in capsys.readouterr().err
    finally:
        mollifield.has_native.cache_clear()
