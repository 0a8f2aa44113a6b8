"""One force evaluation, or a short run, through the real LAMMPS program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield import load_artefact
from mollifield.artefact import Artefact
from mollifield.potential import Evaluation, evaluate
from mollifield_lammps import RunResult, lammps_boundary, write_data
from mollifield_train.export import export

from ..conftest import build_potential, ethanol, sheared_crystal
from ..lammps_runner import run_deck

SPECIES = ["H", "C", "O"]
EV_PER_KCAL_MOL = 1.0 / 23.060549  # LAMMPS's own constant: its metal and real units agree with each other
BAR = {"metal": 1.6021765e6, "real": 68568.415}  # LAMMPS's nktv2p: pressure unit of 1 energy unit per Å^3
STRESS = ["xx", "yy", "zz", "xy", "xz", "yz", "yx", "zx", "zy"]


@dataclass
class Answer:
    """Committee mean in eV and Å, in the frame of the input structure."""

    energy: float
    forces: np.ndarray  # [N, 3]
    virial: np.ndarray  # [3, 3]
    atomic_energies: np.ndarray  # [N]
    atomic_virials: np.ndarray  # [N, 3, 3], centroid
    atomic_virials_6: np.ndarray  # [N, 3, 3], from six components
    result: RunResult


@cache
def _loaded(path: Path, changed: int) -> Artefact:
    return load_artefact(path, verify=False)


def artefact_of(path: Path) -> Artefact:
    """Read once: it takes longer than an evaluation."""
    return _loaded(path, path.stat().st_mtime_ns)


def python_answer(path: Path, atoms: Atoms) -> Evaluation:
    """Members' energies, forces and virials from the Python engine."""
    artefact = artefact_of(path)
    return evaluate(artefact, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, True)


def deck(
    model: Path,
    boundary: str,
    commands: str,
    units: str = "metal",
    pair: str = "mollifield",
    elements: str = "H C O",
    before: str = "",
) -> str:
    return (
        f"units {units}\nboundary {boundary}\natom_style atomic\natom_modify map yes\n{before}\n"
        f"box tilt large\nread_data atoms.data\npair_style {pair}\npair_coeff * * {model} {elements}\n"
        f"thermo_modify lost error format float %.17g\n{commands}\n"
    )


EVALUATE = """
compute e all pe/atom pair
compute c all centroid/stress/atom NULL pair
compute s all stress/atom NULL pair
compute p all pressure NULL pair
thermo_style custom step pe vol c_p[*]
thermo_modify format float %.17g
dump d all custom 1 forces.dump id fx fy fz c_e c_c[*] c_s[*]
dump_modify d sort id format float %.17g
run 0
"""


def lammps_answer(
    model: Path,
    atoms: Atoms,
    directory: Path,
    n_ranks: int = 1,
    units: str = "metal",
    before: str = "",
    pair: str = "mollifield",
) -> Answer:
    directory.mkdir(parents=True, exist_ok=True)
    rotation = write_data(directory / "atoms.data", atoms, SPECIES, units)
    text = deck(model, lammps_boundary(atoms), EVALUATE, units, before=before, pair=pair)
    result = run_deck(text, directory, n_ranks)
    energy_unit = 1.0 if units == "metal" else EV_PER_KCAL_MOL
    rows = np.loadtxt(directory / "forces.dump", skiprows=9, ndmin=2)
    volume = result.thermo["Volume"][-1]
    pressure = [result.thermo[f"c_p[{k}]"][-1] for k in range(1, 7)]
    to_ev = energy_unit / BAR[units]

    def tensor(values):
        """xx yy zz xy xz yz (yx zx zy) -> [..., 3, 3] in the input's frame."""
        values = np.asarray(values)
        if values.shape[-1] == 6:
            values = np.concatenate([values, values[..., 3:]], axis=-1)
        full = values[..., [0, 3, 4, 6, 1, 5, 7, 8, 2]].reshape(*values.shape[:-1], 3, 3)
        return rotation @ full @ rotation.T

    return Answer(
        energy=result.thermo["PotEng"][-1] * energy_unit,
        forces=rows[:, 1:4] @ rotation.T * energy_unit,
        virial=tensor(pressure) * volume * to_ev,
        atomic_energies=rows[:, 4] * energy_unit,
        atomic_virials=-tensor(rows[:, 5:14]) * to_ev,
        atomic_virials_6=-tensor(rows[:, 14:20]) * to_ev,
        result=result,
    )


@pytest.fixture(scope="session")
def write_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Exports an untrained committee of other settings than the shared one, once."""

    @cache
    def written(dtype: torch.dtype, n_members: int, calibration: tuple, settings: tuple) -> Path:
        path = tmp_path_factory.mktemp("model") / "model.pt"
        potential = build_potential(dtype, n_members, **dict(settings))
        # Splines are held to an absolute error that float32 does not reach for forces as large as these.
        export(potential, path, [ethanol(), sheared_crystal()], {}, dict(calibration), splines=dtype == torch.float64)
        return path

    def write(dtype: torch.dtype = torch.float64, n_members: int = 2, calibration=None, **settings) -> Path:
        return written(dtype, n_members, tuple((calibration or {}).items()), tuple(settings.items()))

    return write


@pytest.fixture(scope="session")
def stated_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committee of four whose file states all there is: factors, noise, latent references."""
    from .committee import FACTORS, NOISE

    path = tmp_path_factory.mktemp("model") / "stated.pt"
    frames = [ethanol(), sheared_crystal()]
    potential = build_potential(torch.float64, 4)
    export(potential, path, frames, {}, FACTORS | NOISE, training_frames=frames)
    return path
