"""fix mollifield/uncertainty across write_restart and read_restart."""

import re
import shutil

import pytest
from ase import Atoms
from ase.build import bulk

from mollifield_lammps import LammpsError

from ..lammps_runner import run_deck
from .committee import start

# Sorting atoms at the start of a run would change the order of sums.
BEFORE = "atom_modify sort 0 0"
FIX = (
    "fix n all nve\ntimestep 0.0005\nfix u all mollifield/uncertainty 2 file u.xyz novelty {novelty} bias 0.5 ramp 9\n"
)
WATCH = FIX.format(novelty=0.6)
THERMO = "thermo_style custom step f_u f_u[*]\nthermo 1\nthermo_modify format float %.17g lost error\n"


def orthogonal_crystal() -> Atoms:
    """A triclinic box costs the last digit: LAMMPS turns coordinates to and fro when a run starts."""
    atoms = bulk("CO", "rocksalt", a=4.6, cubic=True)
    atoms.rattle(0.08, seed=1)
    return atoms


@pytest.fixture(scope="module", params=[1, 2])
def uninterrupted(request, stated_model, tmp_path_factory):
    """12 steps with a restart file of every fifth."""
    directory = tmp_path_factory.mktemp("whole")
    commands = "velocity all create 2000 11\n" + FIX.format(novelty=0.6) + THERMO + "restart 5 r.*\nrun 12"
    result, _ = start(directory, orthogonal_crystal(), stated_model, commands, request.param, before=BEFORE)
    return directory, result, request.param


def resume(directory, model, n_ranks, fix=WATCH):
    deck = (
        "atom_modify map yes sort 0 0\nread_restart r.5\npair_style mollifield\n"
        f"pair_coeff * * {model} H C O\n{fix}{THERMO}restart 5 again.*\nrun 12 upto\n"
    )
    return run_deck(deck, directory, n_ranks)


def test_resumed_equals_uninterrupted(uninterrupted, stated_model, tmp_path):
    """Step 5, between two looks of the fix; the killed run had gone on and its last frame is torn."""
    whole, result, n_ranks = uninterrupted
    expected = (whole / "u.xyz").read_bytes()
    n_frames = expected.count(b"step=")
    assert 2 < n_frames < 7  # the filter dropped some, or its memory would not be tried
    shutil.copy(whole / "r.5", tmp_path)
    (tmp_path / "u.xyz").write_bytes(expected[:-100])
    resumed = resume(tmp_path, stated_model, n_ranks)
    assert (tmp_path / "u.xyz").read_bytes() == expected
    for column in ("f_u", "f_u[5]", "f_u[6]"):
        assert resumed.thermo[column][1:].tolist() == result.thermo[column][6:].tolist()
    assert "what was written after the restart file is dropped" in resumed.log.read_text()


def test_frames_that_are_gone_are_missed(uninterrupted, stated_model, tmp_path):
    whole, _, n_ranks = uninterrupted
    shutil.copy(whole / "r.5", tmp_path)
    with pytest.raises(LammpsError, match="'u.xyz' has 0 bytes, but had [0-9]+ when the restart file"):
        resume(tmp_path, stated_model, n_ranks)
    if n_ranks == 1:
        resume(tmp_path, stated_model, 1, FIX.format(novelty=0.0).replace("u.xyz", "other.xyz"))
        assert (tmp_path / "other.xyz").read_text().count("step=") == 4  # 6, 8, 10, 12


def of_step(frame, step):
    return re.sub(rb"step=[0-9]+", b"step=%d" % step, frame)


@pytest.mark.parametrize("uninterrupted", [1], indirect=True)
def test_only_frames_of_later_steps_are_dropped(uninterrupted, stated_model, tmp_path):
    """What the restart file cannot know, and the run does not write again, stays where it is."""
    whole, _, _ = uninterrupted
    frames = [b"8\nLattice" + rest for rest in (whole / "u.xyz").read_bytes().split(b"8\nLattice")[1:]]
    steps = [int(re.search(rb"step=([0-9]+)", frame)[1]) for frame in frames]
    known = b"".join(frame for frame, step in zip(frames, steps, strict=True) if step <= 5)
    n_known, last = sum(step <= 5 for step in steps), max(step for step in steps if step <= 5)
    shutil.copy(whole / "r.5", tmp_path)
    behind = f"after {n_known} frames, line {known.count(10) + 1} "
    for content, message in {
        known
        + of_step(frames[0], last): f"frame {n_known + 1} of step {last} behind those .* knows of, .* of step {last}",
        known + b"notes\n": behind + r"\('notes'\) is no part of one",
        known[:-1] + b"1\n" + frames[-1]: "has other frames than when the restart file was written: none ends after",
    }.items():
        (tmp_path / "u.xyz").write_bytes(content)
        with pytest.raises(LammpsError, match=f"file 'u.xyz' .*{message}"):
            resume(tmp_path, stated_model, 1)
        assert (tmp_path / "u.xyz").read_bytes() == content
    (tmp_path / "u.xyz").write_bytes(known + of_step(frames[0], 999) + frames[0][:300])
    resume(tmp_path, stated_model, 1, FIX.format(novelty=0.6).replace("u.xyz", "./u.xyz"))  # the same by another name
    assert (tmp_path / "u.xyz").read_bytes() == b"".join(frames)
