"""Calculators that fail in the ways that real ones do; counted in the file `log`."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT


def _count(log: str) -> int:
    with Path(log).open("a") as file:
        file.write("call\n")
    return len(Path(log).read_text().splitlines())


class FailsTwice(EMT):
    """Converges at the third attempt."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, *arguments: Any, **more: Any) -> None:
        if _count(self.log) < 3:
            raise RuntimeError("SCF did not converge")
        super().calculate(*arguments, **more)


class FailsOnCopper(EMT):
    """Dies (`how`) for frames with copper, works for all others."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        if "Cu" in atoms.get_chemical_symbols():
            if self.how == "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.how == "hang":
                time.sleep(60.0)
            if self.how == "nan":
                self.results = {"energy": float("nan"), "forces": atoms.positions * 0}
                return
            if self.how != "works":
                raise RuntimeError("no convergence")
        super().calculate(atoms, *arguments, **more)


class Pulled(EMT):
    """By a field, at every atom alike."""

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        super().calculate(atoms, *arguments, **more)
        self.results["forces"] = self.results["forces"] + [0.5, 0.0, 0.0]


class WritesFiles(EMT):
    """Like most reference codes: input and output have fixed names in the working directory."""

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        if os.listdir():
            raise RuntimeError(f"files of another calculation: {os.listdir()}")
        Path("OUTCAR").touch()
        time.sleep(0.1)
        super().calculate(atoms, *arguments, **more)
        os.remove("OUTCAR")  # fails if a neighbour has taken it


class StartsPrograms(EMT):
    """Runs two external programs for ever, one of them in a session of its own; their ids go to `log`.

    Frames without copper are left alone.
    """

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        super().calculate(atoms, *arguments, **more)
        if "Cu" in atoms.get_chemical_symbols():
            Path("scratch").touch()
            shell = ["sh", "-c", "sleep 1000 & wait"]
            programs = [subprocess.Popen(shell, start_new_session=new) for new in (False, True)]
            with Path(self.log).open("a") as file:
                file.write("".join(f"{program.pid}\n" for program in programs))
            programs[0].wait()


class KillsTheSecond(EMT):
    """Every call leaves a line in `log`; the frame with copper kills its worker when the other one is at work."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        super().calculate(atoms, *arguments, **more)
        n_calls = _count(self.log)
        if "Cu" in atoms.get_chemical_symbols():
            while n_calls < 2:
                n_calls = len(Path(self.log).read_text().splitlines())
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        while not Path(self.log + ".dead").exists():
            time.sleep(0.01)


class HangsOnce(EMT):
    """Hangs at its seventh call; leaves a file behind, as many codes do."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log

    def calculate(self, *arguments: Any, **more: Any) -> None:
        Path("WAVECAR").touch()
        if _count(self.log) == 7:
            time.sleep(600.0)
        super().calculate(*arguments, **more)
