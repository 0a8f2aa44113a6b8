"""The file of fix mollifield/uncertainty: one writer, and nothing lost of what it holds."""

import gzip
import io
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import ase.io
import pytest

from mollifield_lammps import LammpsError, lammps_command, read_uncertain, run_lammps
from mollifield_lammps.locate import lammps_environment

from ..conftest import ethanol
from .committee import start
from .conftest import SPECIES, deck
from .talk import talking
from .test_run import BOX, command_of, processes_in

FIX = "fix {} all mollifield/uncertainty 1 file {}"


@pytest.fixture(scope="module")
def talk(tmp_path_factory, model_file):
    with talking(tmp_path_factory.mktemp("talk"), ethanol(), model_file) as talk:
        yield talk


@pytest.fixture(scope="module")
def frame(talk):
    """The bytes of a frame."""
    assert talk.say(FIX.format("f", "frame.xyz"), "run 0") is None
    return (talk.folder / "frame.xyz").read_bytes()


def write(talk, name, keywords=""):
    """Have one frame written; LAMMPS's error, if any."""
    return talk.say(f"{FIX.format('f', name)} {keywords}", "run 0")


def extxyz(frame):
    """The frame as another program writes it."""
    text = io.StringIO()
    ase.io.write(text, ase.io.read(io.StringIO(frame.decode()), format="extxyz"), format="extxyz")
    return text.getvalue().encode()


N_LINES = len(ethanol()) + 2
FOREIGN = {  # what a file holds, and what is said to be no frame
    "a text": (lambda frame: b"notes\nmore\n", r"after 0 frames, line 1 \('notes'\)"),
    "a text without end": (lambda frame: b"notes", r"after 0 frames, line 1 \('notes'\)"),
    "a number": (lambda frame: b"2026", r"after 0 frames, line 1 \('2026'\)"),
    "less than a header": (lambda frame: frame[:60], r"after 0 frames, line 2 \('Lattice="),
    "a blank line": (lambda frame: frame + b"\n" + frame, rf"after 1 frames, line {N_LINES + 1} \(''\)"),
    "a text behind": (lambda frame: frame + b"9 lives", rf"after 1 frames, line {N_LINES + 1} \('9 lives'\)"),
    "a torn frame inside": (lambda frame: frame[:-30] + frame, rf"after 0 frames, line {N_LINES} "),
    "an atom too few": (lambda frame: frame[: frame.rindex(b"H ")] + frame, rf"after 0 frames, line {N_LINES} \('9'"),
    "compressed": (gzip.compress, r"after 0 frames, line 1 \('\?"),
    "another program's": (extxyz, r"after 0 frames, line 2 \('(Lattice|Properties)="),
    "a hole": (lambda frame: frame[:200] + bytes(99999) + frame, r"after 0 frames, line 2 \('Lattice="),
    "zeros at the end": (lambda frame: frame + bytes(99999), rf"after 1 frames, line {N_LINES + 1} \('\?\?"),
    "other line ends": (lambda frame: frame.replace(b"\n", b"\r\n"), r"after 0 frames, line 1 \('9\?'\)"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_append_leaves_alone_what_is_not_ours(kind, talk, frame):
    make, message = FOREIGN[kind]
    name = f"foreign-{[*FOREIGN].index(kind)}.xyz"
    (talk.folder / name).write_bytes(make(frame))
    found = write(talk, name, "append yes")
    assert found is not None and re.search(f"file '{name}' is not of this fix alone: {message}", found), found
    assert (talk.folder / name).read_bytes() == make(frame)


def test_append_drops_a_torn_frame_of_ours(talk, frame):
    """Wherever it is torn; a first frame is known by its header."""
    ends = {1, 2, 40, 300, frame.index(b"Properties") + 20, frame.index(b"\nC ") + 1, len(frame) - 30, len(frame) - 1}
    header = frame.index(b"trigger_value")
    for before, torn in [(frame, ends), (b"", {k for k in ends if k > header})]:
        for k in torn:
            (talk.folder / "torn.xyz").write_bytes(before + frame[:k])
            assert write(talk, "torn.xyz", "append yes") is None
            assert (talk.folder / "torn.xyz").read_bytes() == before + frame, k


def test_frames_of_an_earlier_release_may_be_followed(talk, frame):
    """They have a column less; both sorts are read from one file."""
    head, rest = frame.replace(b":aleatoric_std:R:1", b"").split(b"trigger_value", 1)
    values, *atoms = rest.splitlines()
    earlier = b"\n".join([head + b"trigger_value" + values, *(line.rsplit(b" ", 1)[0] for line in atoms), b""])
    assert len(earlier) < len(frame)
    (talk.folder / "earlier.xyz").write_bytes(earlier)
    assert write(talk, "earlier.xyz", "append yes") is None
    assert (talk.folder / "earlier.xyz").read_bytes() == earlier + frame
    before, after = read_uncertain(talk.folder / "earlier.xyz")
    assert "aleatoric_std" not in before.arrays and not after.arrays["aleatoric_std"].any()


def test_existing_file_is_not_emptied(talk, frame):
    """Its frames are somebody's work, even those of an earlier fix of this run; an empty one is nobody's."""
    for content in (frame, b"notes\n"):
        (talk.folder / "there.xyz").write_bytes(content)
        message = write(talk, "there.xyz")
        assert f"file 'there.xyz' holds {len(content)} bytes already: 'append yes'" in message
        assert (talk.folder / "there.xyz").read_bytes() == content
    (talk.folder / "there.xyz").write_bytes(b"")
    assert write(talk, "there.xyz") is None
    assert (talk.folder / "there.xyz").read_bytes() == frame
    assert "holds" in write(talk, "there.xyz")


def test_devices_and_pipes(talk, frame):
    """They are written to and never read, with which LAMMPS would wait for ever."""
    for name, keywords in [("/dev/null", "append yes"), ("/dev/null", ""), ("/dev/zero", "append yes")]:
        assert write(talk, name, keywords) is None
    assert talk.say(FIX.format("f", "/dev/null"), FIX.format("g", "/dev/null"), "run 0", "unfix g") is None
    os.mkfifo(talk.folder / "pipe")
    assert "file 'pipe' cannot be written: nobody reads from it" in write(talk, "pipe", "append yes")
    reader = os.open(talk.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert write(talk, "pipe", "append yes") is None
    assert os.read(reader, 2 * len(frame)) == frame
    os.close(reader)


@pytest.mark.parametrize("name", ["one.xyz", "./one.xyz", "link.xyz", "hard.xyz"])
def test_two_fixes_of_one_file(name, talk):
    if not (talk.folder / "one.xyz").exists():
        (talk.folder / "one.xyz").touch()
        (talk.folder / "link.xyz").symlink_to("one.xyz")
        (talk.folder / "hard.xyz").hardlink_to(talk.folder / "one.xyz")
    message = talk.say(FIX.format("f", "one.xyz"), FIX.format("g", name))
    assert f"file '{name}' is written by fix f already" in message


def test_file_that_vanishes(talk):
    """Frames would go where nobody finds them."""
    message = talk.say(FIX.format("f", "away.xyz"), "shell rm away.xyz", "run 0")
    assert "file 'away.xyz' was moved or removed after the fix was defined" in message
    (talk.folder / "below").mkdir()
    assert talk.say(FIX.format("f", "above.xyz"), "shell cd below", "run 0", "shell cd ..") is None
    assert (talk.folder / "above.xyz").stat().st_size > 0


@contextmanager
def writer_of(name, directory):
    """A run that holds the file and waits for input: (its launcher, process id of LAMMPS itself)."""
    with subprocess.Popen(
        [*lammps_command(), "-log", "none", "-nonbuf"],
        cwd=directory,
        env=lammps_environment(),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as launcher:
        launcher.stdin.write(f"{BOX}{FIX.format('u', name)}\nprint holds\n")
        launcher.stdin.flush()
        while launcher.stdout.readline().strip() != "holds":
            assert launcher.poll() is None
        (lammps,) = (pid for pid in processes_in(directory) if sys.executable not in command_of(pid)[0])
        yield launcher, lammps


def test_two_runs_of_one_file(tmp_path):
    """Also where only the launcher was killed, and the run goes on behind the back of who started it."""
    second = f"{BOX}{FIX.format('u', './u.xyz')} append yes\n"
    (tmp_path / "u.xyz").touch()
    with writer_of("u.xyz", tmp_path) as (launcher, lammps):
        message = f"file './u.xyz' is being written by process {lammps}; two writers of one file lose frames"
        with pytest.raises(LammpsError, match=message):
            run_lammps(second, tmp_path)
        launcher.kill()
        launcher.wait()
        with pytest.raises(LammpsError, match=message):
            run_lammps(second, tmp_path)
        os.kill(lammps, signal.SIGKILL)
        while lammps in processes_in(tmp_path):
            pass
        run_lammps(second, tmp_path)


def test_a_file_for_each_partition(stated_model, tmp_path):
    """Numbered as log files are, with the same names on resuming."""
    moving = "velocity all create 300 11\nfix n all nve\ntimestep 0.0005\n"
    _, _ = start(tmp_path, ethanol(), stated_model, f"{moving}{FIX.format('u', 'u.xyz')}\nrun 4")
    expected = (tmp_path / "u.xyz").read_bytes()
    first = f"{moving}{FIX.format('u', 'v.xyz')}\nrun 2\nvariable p world a b\nwrite_restart r.$p"
    text = deck(stated_model, "s s s", first, elements=" ".join(SPECIES))
    in_two(text, tmp_path)
    assert not (tmp_path / "v.xyz").exists()
    halves = [(tmp_path / f"v.{k}.xyz").read_bytes() for k in range(2)]
    assert halves[0] == halves[1] and len(read_uncertain(tmp_path / "v.0.xyz")) == 3
    second = (
        "variable p world a b\natom_modify map yes\nread_restart r.$p\nfix n all nve\ntimestep 0.0005\n"
        f"{FIX.format('u', 'v.xyz')}\nrun 2\n"
    )
    in_two(second, tmp_path)
    for k in range(2):
        assert (tmp_path / f"v.{k}.xyz").read_bytes().count(b"step=") == expected.count(b"step=") == 5
        assert "goes on after frame 3 of 'v." in (tmp_path / f"log.lammps.{k}").read_text()


def in_two(text, directory):
    (directory / "in.two").write_text(text)
    command = [*lammps_command(2), "-partition", "2x1", "-in", "in.two"]
    subprocess.run(command, cwd=directory, env=lammps_environment(), check=True, stdout=subprocess.DEVNULL)
