"""Models and frames that every engine is tried on."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import mollifield_train.export
from mollifield import MollifieldCalculator, find_edges, load_artefact
from mollifield.potential import evaluate, types_of
from mollifield_train.export import ExportedPotential, export
from mollifield_train.model.architecture import Architecture
from mollifield_train.model.equivariant.config import EquivariantConfig
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import initialise

from .lammps_session import LammpsSession

R_MAX = 4.0


def build_potential(dtype: torch.dtype, n_members: int = 3, **settings: object) -> EquivariantPotential:
    """An untrained committee: weights are random, the physics must hold all the same."""
    potential = EquivariantPotential(
        Architecture(
            settings=EquivariantConfig(r_max=R_MAX, n_channels=8, **settings),
            species=("H", "C", "O"),
            average_neighbours=8.0,
            atomic_shifts=(-13.6, -1030.0, -2042.0),
            energy_scale=2.0,
            n_members=n_members,
            dtype=dtype,
        )
    )
    initialise(potential, 7)
    with torch.no_grad():
        potential.readout.weight_2.mul_(10.0)  # forces of a few eV/Å, as in a trained model
    return potential


def squared_potential() -> Potential:
    """float64, with repulsion and products of messages, which random weights make steep: softened."""
    potential = build_potential(torch.float64, zbl=True, correlation=2)
    with torch.no_grad():
        potential.readout.weight_2.mul_(0.01)
    return potential


def sheared_crystal() -> Atoms:
    """A CO-like solid in a sheared triclinic cell, one edge shorter than ``R_MAX``."""
    atoms = bulk("CO", "rocksalt", a=4.4) * (1, 2, 2)
    strain = np.array([[1.02, 0.0, 0.0], [0.08, 0.97, 0.0], [0.05, -0.06, 1.03]])
    atoms.set_cell(atoms.cell.array @ strain.T, scale_atoms=True)
    atoms.rattle(0.08, seed=1)
    return atoms


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    return atoms


def slab() -> Atoms:
    """Periodic in x and y only, the third lattice vector missing."""
    atoms = sheared_crystal()
    atoms.pbc = [True, True, False]
    return atoms


FRAMES: dict[str, Callable[[], Atoms]] = {
    "crystal": sheared_crystal, "ethanol": ethanol, "slab": slab,
}


@dataclass
class Answer:
    energies: np.ndarray  # [M]
    atomic_energies: np.ndarray  # [M, N]
    forces: np.ndarray  # [M, N, 3]
    virial: np.ndarray  # [M, 3, 3]


Engine = Callable[[Atoms], Answer]


def eager_engine(potential: Potential) -> Engine:
    def answer(atoms: Atoms) -> Answer:
        edges = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, potential.r_max)
        vectors = torch.tensor(edges.edge_vectors, dtype=potential.dtype)
        vectors = vectors.repeat(potential.n_members, 1, 1).requires_grad_()
        types = torch.tensor(types_of(atoms.get_chemical_symbols(), potential.species))
        energies = potential(vectors, torch.tensor(edges.edge_index), types)["atomic_energies"]
        (g,) = torch.autograd.grad(energies.sum(), vectors)
        g, d = g.double().numpy(), vectors.detach().double().numpy()
        forces = np.zeros((potential.n_members, len(atoms), 3))
        for m in range(potential.n_members):
            np.add.at(forces[m], edges.edge_index[0], g[m])
            np.subtract.at(forces[m], edges.edge_index[1], g[m])
        e = energies.detach().numpy()
        return Answer(e.sum(1), e, forces, -np.einsum("mea,meb->mab", d, g))

    return answer


def exported_engine(path: Path) -> Engine:
    artefact = load_artefact(path)

    def answer(atoms: Atoms) -> Answer:
        out = evaluate(
            artefact, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, True
        )
        return Answer(*(x.numpy() for x in (out.energies, out.atomic_energies, out.forces, out.virial)))

    return answer


def calculator_engine(path: Path) -> Engine:
    """The committee mean, as ASE users see it."""
    calculator = MollifieldCalculator(path)

    def answer(atoms: Atoms) -> Answer:
        atoms = atoms.copy()
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        virial = np.full((3, 3), np.nan)
        if atoms.pbc.all():
            virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        return Answer(
            np.array([energy]), atoms.get_potential_energies()[None], forces[None], virial[None]
        )

    return answer


@pytest.fixture(scope="session")
def double_potential() -> Potential:
    return squared_potential()


@pytest.fixture(scope="session")
def model_file(double_potential: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    export(double_potential, path, [ethanol(), sheared_crystal()], {"name": "test"})
    return path


def lammps_engine(session: LammpsSession) -> Engine:
    """The committee mean, as LAMMPS users see it. A frame is evaluated once: four ranks on two cores are slow."""
    answers: dict[tuple[bytes, ...], Answer] = {}

    def answer(atoms: Atoms) -> Answer:
        content = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        key = tuple(array.tobytes() for array in content)
        if key not in answers:
            energy, atomic_energies, forces, virial = session.evaluate(atoms)
            answers[key] = Answer(np.array([energy]), atomic_energies[None], forces[None], virial[None])
        return answers[key]

    return answer


@pytest.fixture(scope="session", params=["eager", "exported", "calculator", "lmp-1", "lmp-2", "lmp-4"])
def engine(
    request: pytest.FixtureRequest, double_potential: Potential, model_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:  # fmt: skip
    """The same model behind each door, float64; lmp-4 is LAMMPS on four ranks."""
    if request.param.startswith("lmp-"):
        folder = tmp_path_factory.mktemp(request.param)
        n_ranks = int(request.param[4:])
        with closing(LammpsSession(model_file, double_potential.species, n_ranks, folder)) as session:
            yield lammps_engine(session)
    elif request.param == "eager":
        yield eager_engine(double_potential)
    else:
        yield {"exported": exported_engine, "calculator": calculator_engine}[request.param](model_file)


@pytest.fixture(params=sorted(FRAMES))
def frame(request: pytest.FixtureRequest) -> Atoms:
    return FRAMES[request.param]()


@pytest.fixture
def model_without_latent_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committee of two as the first files were: no attribute that could hold references."""
    script = mollifield_train.export.script

    def without_attribute(wrapped: ExportedPotential) -> object:
        del wrapped.latent_space
        return script(wrapped)

    monkeypatch.setattr(mollifield_train.export, "script", without_attribute)
    export(build_potential(torch.float64, 2), tmp_path / "model.pt", [ethanol()])
    return tmp_path / "model.pt"
