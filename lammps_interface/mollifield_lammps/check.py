"""Self-test of an installation: does this LAMMPS, with this plugin, compute what the model file says?

One row a step. A step that needs a failed one is skipped; so is what needs `mpirun` where there is none.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from mollifield import contract, load_artefact
from mollifield.artefact import Artefact
from mollifield.potential import Evaluation, evaluate
from mollifield.uncertainty import spread

from .data import lammps_boundary, write_data
from .deck import Deck, Nve, Uncertainty
from .dump import read_dump
from .locate import MPIRUN_VARIABLE, find_plugin, lammps_command, lammps_environment
from .run import LammpsError, run_lammps

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
BAR = 1.6021765e6  # LAMMPS's nktv2p: bar in one eV/Å^3
RANKS = 2
MODEL = "model.pt"


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str
    outcome: str
    """ok, failed or skipped."""
    detail: str
    """What was found."""
    hint: str = ""
    """What to do about it; only where it failed."""


class _Skip(Exception):
    """A step that cannot be done here, which is no failure."""


@dataclass
class _Installation:
    """What the steps find out on their way."""

    model: Path
    folder: Path
    artefact: Artefact = field(init=False)
    frames: list[Atoms] = field(default_factory=list)
    expected: list[Evaluation] = field(default_factory=list)

    def run(self, name: str, text: str, n_ranks: int = 1) -> tuple[dict[str, np.ndarray], list[str]]:
        """Run a deck in a folder of its own: (thermo, output)."""
        output: list[str] = []
        result = run_lammps(text, self.folder / name, n_ranks, progress=output.append)
        return result.thermo, output


def check_installation(model: str | Path) -> Iterator[Check]:
    """Try everything that a run with `model` needs, step by step; see `passed` for the verdict."""
    outcomes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lammps-check-") as folder:
        installation = _Installation(Path(model).absolute(), Path(folder))
        for name, needs, step, hint in STEPS:
            check = _try(name, [n for n in needs if outcomes[n] != OK], step, hint, installation)
            outcomes[name] = check.outcome
            yield check


def passed(checks: list[Check]) -> bool:
    """Nothing failed."""
    return all(check.outcome != FAILED for check in checks)


def table_row(check: Check) -> str:
    """A line of the table, and one with the hint where there is one."""
    detail = check.detail.replace("\n", "\n" + " " * 21)
    hint = f"\n{'':21}hint: {check.hint}" if check.hint else ""
    return f"{check.name:<12} {check.outcome:<8}{detail}{hint}"


def _try(
    name: str, missing: list[str], step: Callable[[_Installation], str], hint: str, installation: _Installation
) -> Check:
    if missing:
        return Check(name, SKIPPED, f"needs: {', '.join(missing)}")
    try:
        return Check(name, OK, step(installation))
    except _Skip as reason:
        return Check(name, SKIPPED, str(reason))
    except (ValueError, OSError, LammpsError, subprocess.SubprocessError) as error:
        return Check(name, FAILED, str(error), hint)


def _check_model(installation: _Installation) -> str:
    artefact = load_artefact(installation.model)
    installation.artefact = artefact
    for reference in artefact.reference_frames:
        symbols = [artefact.species[k] for k in reference[contract.REF_TYPES].tolist()]
        atoms = Atoms(
            symbols,
            reference[contract.REF_POSITIONS].numpy(),
            cell=reference[contract.REF_CELL].numpy(),
            pbc=reference[contract.REF_PBC].numpy(),
        )
        installation.frames.append(atoms)
        installation.expected.append(
            evaluate(artefact, symbols, atoms.positions, atoms.cell.array, atoms.pbc, members=True)
        )
    return (
        f"{artefact.n_members} member(s), species {' '.join(artefact.species)}, {_precision(artefact)}, "
        f"{len(installation.frames)} reference frame(s) reproduced in Python"
    )


def _precision(artefact: Artefact) -> str:
    return str(artefact.dtype).removeprefix("torch.")


def _check_lmp(_: _Installation) -> str:
    command = lammps_command()
    done = subprocess.run(
        [*command, "-h"], env=lammps_environment(), stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=60
    )
    lines = [line for line in done.stdout.splitlines() if "Massively Parallel" in line]
    if not lines:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise ValueError(f"{command[0]} is no LAMMPS, or does not start: {words[-1]}")
    return f"{lines[0].split(' - ', 1)[1]}, {command[0]}"


def _check_plugin(installation: _Installation) -> str:
    path = find_plugin()
    # Loading one that is there already is not an error; one that cannot be opened is only a line of output.
    _, output = installation.run("plugin", f'plugin load "{path}"\nplugin list\n')
    problems = [line for line in output if line.startswith("Open of file")]
    if problems:
        raise ValueError(problems[0])
    for style in ("pair style plugin mollifield", "fix style plugin mollifield/uncertainty"):
        if not any(line.endswith(style) for line in output):
            raise ValueError(f"{path} was loaded, but `plugin list` shows no {style}")
    return str(path)


def _check_mpirun(installation: _Installation) -> str:
    try:
        command = lammps_command(RANKS)
    except FileNotFoundError as missing:
        if MPIRUN_VARIABLE in os.environ:
            raise
        raise _Skip(f"only one rank can be used: {missing}") from missing
    _, output = installation.run("mpirun", 'print "ranks: $(extract_setting(world_size))"\n', RANKS)
    sizes = [line.split()[1] for line in output if line.startswith("ranks: ")]
    if sizes != [str(RANKS)]:
        raise ValueError(
            f"{command[0]} -n {RANKS} started {len(sizes)} LAMMPS run(s) of {', '.join(sizes)} rank(s): "
            "another MPI than the one LAMMPS was built with"
        )
    return command[0]


class _Found(NamedTuple):
    """What LAMMPS says of the reference frames."""

    thermo: dict[str, np.ndarray]
    """One row a frame."""
    rotations: list[np.ndarray]
    """Of `write_data`."""
    forces: list[np.ndarray]
    """[N, 3] eV/Å of each frame, as the frame lies."""


def _evaluate(installation: _Installation, name: str, n_ranks: int, uncertainty: Uncertainty | None = None) -> _Found:
    """All reference frames in one run of LAMMPS."""
    species, frames = installation.artefact.species, installation.frames
    folder = installation.folder / name
    folder.mkdir()
    (folder / MODEL).symlink_to(installation.model)  # whatever the name of the file, this one has no blanks
    rotations = [write_data(folder / f"{k}.data", atoms, species) for k, atoms in enumerate(frames)]
    decks = [
        Deck(
            model=MODEL,
            species=species,
            boundary=lammps_boundary(atoms),
            dynamics=Nve(),
            n_steps=0,
            data=f"{k}.data",
            commands=["compute p all pressure NULL pair"],
            thermo=["step", "pe", "vol", "c_p[*]", *([] if uncertainty is None else [f"f_{uncertainty.name}"])],
            dump_every=1,
            dump=f"{k}.dump",
            digits=17,
            uncertainty=uncertainty,
        )
        for k, atoms in enumerate(frames)
    ]
    thermo, _ = installation.run(name, "".join(f"clear\n{deck.text()}" for deck in decks), n_ranks)
    dumps = [read_dump(folder / f"{k}.dump", rotation)[0] for k, rotation in enumerate(rotations)]
    return _Found(thermo, rotations, [atoms.get_forces() for atoms in dumps])


def _check_ranks(n_ranks: int) -> Callable[[_Installation], str]:
    def step(installation: _Installation) -> str:
        thermo, rotations, found_forces = _evaluate(installation, f"ranks-{n_ranks}", n_ranks)
        worst = {"energy": 0.0, "forces": 0.0, "virial": 0.0}
        for k, (expected, rotation) in enumerate(zip(installation.expected, rotations, strict=True)):
            forces = found_forces[k]
            n_atoms = len(forces)
            pressure = np.array([thermo[f"c_p[{i}]"][k] for i in (1, 4, 5, 4, 2, 6, 5, 6, 3)]).reshape(3, 3)
            virial = rotation @ pressure @ rotation.T * thermo["Volume"][k] / BAR
            for name, found, members, scale in (
                ("energy", thermo["PotEng"][k], expected.energies, 1.0 / n_atoms),
                ("forces", forces, expected.forces, 1.0),
                ("virial", virial, expected.virial, 1.0 / n_atoms),
            ):
                value = members.mean(0).numpy() * scale
                deviation = float(np.abs(found * scale - value).max())
                _within(f"frame {k}: {name}", deviation, value, _precision(installation.artefact))
                worst[name] = max(worst[name], deviation)
        return (
            f"largest deviation {worst['energy']:.1e} eV/atom, {worst['forces']:.1e} eV/Å, "
            f"{worst['virial']:.1e} eV/atom (virial)"
        )

    return step


def _within(what: str, deviation: float, value: np.ndarray, precision: str) -> None:
    limit = contract.REFERENCE_TOLERANCE[precision] * (1.0 + float(np.abs(value).max()))
    if not deviation <= limit:
        raise ValueError(f"{what} deviates by {deviation:.3g} from the Python engine, allowed {limit:.3g}")


def _check_fix(installation: _Installation) -> str:
    artefact = installation.artefact
    if artefact.n_members < 2:
        raise _Skip("the model is a single member, which has no spread")
    thermo = _evaluate(installation, "fix", 1, Uncertainty(name="u", every=1)).thermo
    largest = 0.0
    for k, expected in enumerate(installation.expected):
        std = spread(artefact, expected).forces_std.max()
        deviation = abs(float(thermo["f_u"][k]) - std)
        _within(f"frame {k}: largest force std", deviation, expected.forces.numpy(), _precision(artefact))
        largest = max(largest, deviation)
    return f"fix mollifield/uncertainty: largest deviation {largest:.1e} eV/Å"


STEPS: list[tuple[str, list[str], Callable[[_Installation], str], str]] = [
    ("model", [], _check_model, "export the model again with this release, or copy the file again"),
    ("lmp", [], _check_lmp, "pip install lammps mpich, or let MOLLIFIELD_LMP name your own"),
    (
        "plugin",
        ["lmp"],
        _check_plugin,
        "build it for this LAMMPS: pip install --no-build-isolation -e ., or cmake -D LAMMPS_ROOT=... (docs/lammps.md)",
    ),
    ("mpirun", ["lmp"], _check_mpirun, f"let {MPIRUN_VARIABLE} name the mpirun of LAMMPS's own MPI"),
    ("1 rank", ["model", "plugin"], _check_ranks(1), "plugin and Python package must be of one release: build again"),
    ("2 ranks", ["model", "plugin", "mpirun"], _check_ranks(2), "report this, with the output above"),
    ("fix", ["model", "plugin"], _check_fix, "plugin and Python package must be of one release: build again"),
]
