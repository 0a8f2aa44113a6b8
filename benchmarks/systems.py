"""The frames and models that all benchmarks share."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from torch import Tensor

from mollifield import load_artefact
from mollifield.artefact import Artefact
from mollifield.neighbours import find_edges
from mollifield.potential import types_of
from mollifield_train.export import export
from mollifield_train.model.architecture import Architecture
from mollifield_train.model.equivariant.config import EquivariantConfig
from mollifield_train.model.equivariant.network import EquivariantPotential

R_MAX = 5.0  # Å
SPECIES = {"silicon": ["Si"], "ethanol": ["H", "C", "O"]}
SHORTEST = {"silicon": ((2.16,),), "ethanol": None}
"""Å: the shortest distance in frames like `silicon`, which a trained model knows; its repulsion then rests."""


def silicon(cells: int, seed: int = 0) -> Atoms:
    """Diamond, 8 `cells`^3 atoms, rattled by 0.05 Å; about 28 neighbours an atom within 5 Å."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=seed)
    return atoms


def ethanol(seed: int = 0) -> Atoms:
    """One molecule, rattled by 0.05 Å."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    return atoms


Settings = Mapping[str, Any]
"""Keys of a model's block, on top of the defaults, which are those of the preset `balanced`."""


def potential(
    system: str,
    backend: str,
    n_members: int = 1,
    settings: Settings = MappingProxyType({}),
    dtype: torch.dtype = torch.float32,
) -> EquivariantPotential:
    """Untrained; by default 2 layers, l_max 2, 32 channels of each l."""
    species = SPECIES[system]
    return EquivariantPotential(
        Architecture(
            settings=EquivariantConfig.model_validate({"r_max": R_MAX, "backend": backend, **settings}),
            species=tuple(species),
            average_neighbours=28.0 if system == "silicon" else 8.0,
            atomic_shifts=(0.0,) * len(species),
            energy_scale=1.0,
            n_members=n_members,
            dtype=dtype,
            shortest_distances=SHORTEST[system],
        )
    )


def write_model(
    path: Path,
    system: str,
    backend: str = "native",
    n_members: int = 1,
    splines: bool = True,
    settings: Settings = MappingProxyType({}),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Export `potential`; the file checks itself on a small frame."""
    frame = silicon(1) if system == "silicon" else ethanol()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e3nn and torch warn of TorchScript
        export(potential(system, backend, n_members, settings, dtype), path, [frame], splines=splines)


def artefact(
    system: str,
    backend: str = "native",
    n_members: int = 1,
    splines: bool = True,
    settings: Settings = MappingProxyType({}),
    device: str = "cpu",
) -> Artefact:
    """The same, exported and loaded again as any user does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        write_model(path, system, backend, n_members, splines, settings)
        return load_artefact(path, device, verify=False)


def edges(atoms: Atoms, system: str) -> tuple[Tensor, Tensor, Tensor]:
    """`edge_vectors [E, 3]` float64, `edge_index [2, E]`, `types [N]`."""
    found = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, R_MAX)
    types = types_of(atoms.get_chemical_symbols(), SPECIES[system])
    return (torch.from_numpy(found.edge_vectors), torch.from_numpy(found.edge_index), torch.from_numpy(types))


def labelled(frames: list[Atoms]) -> list[Atoms]:
    """With random energies and forces: what a step costs does not depend on them."""
    rng = np.random.default_rng(0)
    for atoms in frames:
        forces = rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=float(rng.normal()), forces=forces)
    return frames


def training_frames(system: str) -> list[Atoms]:
    """One batch: 10 ethanol molecules, or 4 silicon frames of 64 atoms."""
    if system == "ethanol":
        return labelled([ethanol(seed) for seed in range(10)])
    return labelled([silicon(2, seed) for seed in range(4)])


def write_frames(path: Path, frames: list[Atoms]) -> None:
    """For the peers."""
    ase.io.write(path, frames)
