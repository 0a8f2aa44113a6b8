"""The doors to a model, each as a function of a frame."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from mollifield import MollifieldCalculator, find_edges, load_artefact
from mollifield.potential import evaluate, types_of

from ..model.protocol import Potential


@dataclass
class Answer:
    """eV and Å; M is 1 behind a door that shows the mean of the members only."""

    energies: np.ndarray
    """[M]"""
    atomic_energies: np.ndarray
    """[M, N]"""
    forces: np.ndarray
    """[M, N, 3]"""
    virial: np.ndarray
    """[M, 3, 3]"""


Engine = Callable[[Atoms], Answer]


def eager_engine(potential: Potential) -> Engine:
    """The model itself, its forces and virials in numpy."""

    def answer(atoms: Atoms) -> Answer:
        edges = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, potential.r_max)
        vectors = torch.tensor(edges.edge_vectors, dtype=potential.dtype)
        vectors = vectors.repeat(potential.n_members, 1, 1).requires_grad_()
        types = torch.tensor(types_of(atoms.get_chemical_symbols(), potential.species))
        energies = potential(vectors, torch.tensor(edges.edge_index), types)["atomic_energies"]
        (gradient,) = torch.autograd.grad(energies.sum(), vectors)
        g, d = gradient.double().numpy(), vectors.detach().double().numpy()
        forces = np.zeros((potential.n_members, len(atoms), 3))
        for m in range(potential.n_members):
            np.add.at(forces[m], edges.edge_index[0], g[m])
            np.subtract.at(forces[m], edges.edge_index[1], g[m])
        e = energies.detach().numpy()
        return Answer(e.sum(1), e, forces, -np.einsum("mea,meb->mab", d, g))

    return answer


def exported_engine(path: Path) -> Engine:
    """A model file in the Python engine."""
    artefact = load_artefact(path)

    def answer(atoms: Atoms) -> Answer:
        out = evaluate(artefact, atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array, atoms.pbc, True)
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
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*no stress was among its training labels")
                virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        return Answer(np.array([energy]), atoms.get_potential_energies()[None], forces[None], virial[None])

    return answer
