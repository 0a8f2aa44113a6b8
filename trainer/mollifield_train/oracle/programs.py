"""Programs of their own as reference methods: density-functional codes, LAMMPS' classical potentials, any script."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import ase.io
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from pydantic import Field

from .calculators import OracleConfig, imported

_TAIL = 5
"""Lines of a program's last words in the reason of a failure."""


class ProgramConfig(OracleConfig):
    """A code with a calculator in ASE or of its own; what that takes are the `arguments`, the command among them."""

    CLASS: ClassVar[str]
    """Import path of the calculator."""


class GpawConfig(ProgramConfig):
    """GPAW, such as `arguments: {mode: {name: pw, ecut: 400}, xc: PBE, kpts: [4, 4, 4], txt: null}`."""

    kind: Literal["gpaw"] = "gpaw"
    CLASS = "gpaw.GPAW"


class VaspConfig(ProgramConfig):
    """VASP, such as `arguments: {command: mpirun vasp_std, xc: PBE, encut: 500, kpts: [4, 4, 4]}`."""

    kind: Literal["vasp"] = "vasp"
    CLASS = "ase.calculators.vasp.Vasp"


class Cp2kConfig(ProgramConfig):
    """CP2K, such as `arguments: {command: cp2k_shell, inp: ...}`."""

    kind: Literal["cp2k"] = "cp2k"
    CLASS = "ase.calculators.cp2k.CP2K"


class EspressoConfig(OracleConfig):
    """Quantum ESPRESSO's pw.x, by ASE; `arguments` are its `input_data`, `kpts`, and the like."""

    PLACES = ("command", "pseudo_dir")

    kind: Literal["espresso"] = "espresso"
    command: str = "pw.x"
    """How it is started, `mpirun -n 4 pw.x` for example."""
    pseudo_dir: Path
    """Folder of the pseudopotentials, an absolute path."""
    pseudopotentials: dict[str, str]
    """File of each element."""


class LammpsOracleConfig(OracleConfig):
    """A classical potential in LAMMPS, by ASE; `arguments` are its `pair_style`, `pair_coeff`, `files`, and so on."""

    PLACES = ("command",)

    kind: Literal["lammps"] = "lammps"
    command: str = "lmp"
    """How LAMMPS is started."""


class PyscfConfig(OracleConfig):
    """Density-functional theory of molecules by PySCF; `arguments` are set on its mean-field object, such as
    `{conv_tol: 1.0e-10}`."""

    kind: Literal["pyscf"] = "pyscf"
    xc: str = "PBE"
    """The functional; `HF` for Hartree-Fock."""
    basis: str = "def2-svp"
    """The basis set."""
    charge: int = 0
    """In units of the elementary charge."""
    spin: int = Field(default=0, ge=0)
    """Number of unpaired electrons."""


class CommandConfig(OracleConfig):
    """Any program that reads an extxyz file and writes one with energy, forces and, where it has one, stress."""

    kind: Literal["command"] = "command"
    command: str
    """With {input} and {output} where the two files go, such as `python /home/me/label.py {input} {output}`; run by a
    shell in an empty folder. `arguments` fill further braces."""


def make_program(config: ProgramConfig) -> Calculator:
    """Raises ValueError where the package is not installed."""
    return imported(config.CLASS, config.arguments)


def make_espresso(config: EspressoConfig) -> Calculator:
    """Forces are asked for, and stress."""
    from ase.calculators.espresso import Espresso, EspressoProfile

    asked = {"tprnfor": True, "tstress": True}
    arguments = config.arguments | {"input_data": _with_control(config.arguments.get("input_data", {}), asked)}
    profile = EspressoProfile(command=config.command, pseudo_dir=config.pseudo_dir)
    return cast(Calculator, Espresso(profile=profile, pseudopotentials=config.pseudopotentials, **arguments))


def _with_control(given: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """`input_data` in sections, or flat as ASE takes it too."""
    if any(isinstance(value, dict) for value in given.values()):
        return given | {"control": asked | given.get("control", {})}
    return asked | given


def make_lammps(config: LammpsOracleConfig) -> Calculator:
    """Raises ValueError where there is no such program."""
    from ase.calculators.lammpsrun import LAMMPS

    if shutil.which(shlex.split(config.command)[0]) is None:
        raise ValueError(f"oracle: no program {config.command!r} to run")
    # Else a LAMMPS that nobody ends waits for the next frame.
    return LAMMPS(command=config.command, **{"keep_alive": False} | config.arguments)


def make_pyscf(config: PyscfConfig) -> Calculator:
    """Raises ValueError where PySCF is not installed."""
    return imported(f"{__package__}.pyscf_calculator.PyscfCalculator", {"config": config})


def make_command(config: CommandConfig) -> Calculator:
    """Raises ValueError where the files have no place in the command."""
    names = {"input": "frame.extxyz", "output": "labelled.extxyz"}
    if any(f"{{{name}}}" not in config.command for name in names):
        raise ValueError(f"oracle: 'command' {config.command!r} has no {{input}} or no {{output}}")
    try:
        return CommandCalculator(config.command.format(**names, **config.arguments), *names.values())
    except (KeyError, IndexError) as error:
        raise ValueError(f"oracle: 'command' {config.command!r} has braces that nothing fills: {error}") from error


class CommandCalculator(Calculator):
    """Runs a shell command in the working directory, between two extxyz files."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, command: str, input_name: str, output_name: str) -> None:
        super().__init__()
        self._command, self._input, self._output = command, Path(input_name), Path(output_name)

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """Raises RuntimeError, with the program's last words, where it fails or leaves no energy or forces."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self._output.unlink(missing_ok=True)
        ase.io.write(self._input, Atoms(self.atoms), format="extxyz")
        run = subprocess.run(
            self._command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        words = "; ".join((run.stderr.strip() or run.stdout.strip()).splitlines()[-_TAIL:])
        if run.returncode != 0:
            raise RuntimeError(f"'{self._command}' ended with status {run.returncode}: {words}")
        if not self._output.exists():
            raise RuntimeError(f"'{self._command}' wrote no {self._output}: {words}")
        found = cast(Atoms, ase.io.read(self._output, format="extxyz"))
        if found.numbers.tolist() != self.atoms.numbers.tolist():
            raise RuntimeError(f"'{self._command}' labelled {found.symbols}, it was given {self.atoms.symbols}")
        results = {} if found.calc is None else found.calc.results
        missing = [name for name in ("energy", "forces") if name not in results]
        if missing:
            raise RuntimeError(f"'{self._command}' wrote no {missing[0]}; found: {', '.join(results) or 'nothing'}")
        self.results = {name: value for name, value in results.items() if name in self.implemented_properties}
