"""Models and frames that every engine is tried on."""

import copy
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import mollifield_train.export
from mollifield import MollifieldCalculator
from mollifield_train.export import ExportedPotential, export
from mollifield_train.model import ARCHITECTURES, build
from mollifield_train.model.equivariant.config import EquivariantConfig
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import initialise
from mollifield_train.testing import (  # noqa: F401
    R_MAX,
    Answer,
    Engine,
    calculator_engine,
    eager_engine,
    ethanol,
    example_architecture,
    exported_engine,
    sheared_crystal,
    slab,
)

from .lammps_runner import close_runners
from .lammps_session import LammpsSession


def build_potential(dtype: torch.dtype, n_members: int = 3, **settings: object) -> EquivariantPotential:
    """An untrained committee: weights are random, the physics must hold all the same.

    Messages are coupled, without products, and nothing is normalised unless `settings` say so: the smoothest there is.
    """
    smooth = {"messages": "coupled", "correlation": 1, "rms_norm": False}
    config = EquivariantConfig.model_validate({"r_max": R_MAX, "n_channels": 8} | smooth | settings)
    potential = EquivariantPotential(example_architecture(config, n_members, dtype))
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


def default_potential(dtype: torch.dtype) -> Potential:
    """As the defaults say; with triples of random messages it would be steeper than differences resolve."""
    potential = build_potential(dtype, messages="scattered", correlation=3, rms_norm=True)
    with torch.no_grad():
        for layer in potential.layers:
            layer.update.mix.weight.mul_(0.3)
    return potential


UNTRAINED: dict[str, Callable[[torch.dtype], Potential]] = {"equivariant": default_potential}
"""Where the defaults of an architecture are large for a test."""


def untrained(kind: str, dtype: torch.dtype) -> Potential:
    """A committee of any architecture in the table."""
    if kind in UNTRAINED:
        return UNTRAINED[kind](dtype)
    return build(example_architecture(ARCHITECTURES[kind].section(r_max=R_MAX), dtype=dtype))


@pytest.fixture(scope="session", autouse=True)
def lammps_runners() -> Iterator[None]:
    """What `run_deck` started ends with the tests."""
    yield
    close_runners()


@pytest.fixture(scope="session")
def double_potential() -> Potential:
    return squared_potential()


@pytest.fixture(scope="session")
def model_file(double_potential: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    export(double_potential, path, [ethanol(), sheared_crystal()], {"name": "test"})
    return path


@pytest.fixture(scope="session")
def loaded(model_file: Path) -> MollifieldCalculator:
    """Reading a file takes longer than twenty evaluations."""
    return MollifieldCalculator(model_file)


@pytest.fixture
def calc(loaded: MollifieldCalculator) -> MollifieldCalculator:
    """A calculator with results and settings of its own."""
    return copy.deepcopy(loaded)


@pytest.fixture(scope="session")
def exported(model_file: Path) -> Engine:
    return exported_engine(model_file)


@pytest.fixture(scope="session")
def model_of(
    double_potential: Potential, model_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Potential, Path]]:
    """A committee of an architecture, and its file."""

    @cache
    def made(kind: str) -> tuple[Potential, Path]:
        if kind == "equivariant":
            return double_potential, model_file
        potential = untrained(kind, torch.float64)
        path = tmp_path_factory.mktemp(kind) / "model.pt"
        export(potential, path, [ethanol(), sheared_crystal()])
        return potential, path

    return made


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


DOORS = ("eager", "exported", "calculator", "lmp-1", "lmp-2", "lmp-4")
"""lmp-4 is LAMMPS on four ranks."""


@contextmanager
def door(name: str, potential: Potential, path: Path, folder: Path) -> Iterator[Engine]:
    """A model in memory and in a file, behind one of `DOORS`."""
    if name.startswith("lmp-"):
        with closing(LammpsSession(path, potential.species, int(name[4:]), folder)) as session:
            yield lammps_engine(session)
    elif name == "eager":
        yield eager_engine(potential)
    else:
        yield {"exported": exported_engine, "calculator": calculator_engine}[name](path)


@pytest.fixture(
    scope="module",  # idle ranks wait at full speed: they end with the tests that ask them
    params=[(kind, name) for kind in ARCHITECTURES for name in DOORS],
    ids=lambda parameter: "-".join(parameter),
)
def engine(
    request: pytest.FixtureRequest,
    model_of: Callable[[str], tuple[Potential, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """Every architecture behind each door, float64."""
    kind, name = request.param
    with door(name, *model_of(kind), tmp_path_factory.mktemp(name)) as found:
        yield found


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
