"""`compute heat/flux` with centroid virials against its definition.

J = d/dt sum_i r_i E_i = sum_i E_i v_i + sum_ij (r_i - r_j) (dE_i/dr_j . v_j), E_i the energy of atom i with its kinetic
part; j runs over all images (Fan et al., Phys. Rev. B 92, 094301 (2015), eq. 20; with message passing E_i depends on
atoms up to n_layers * r_max away: Langer et al., Phys. Rev. B 108, L100302 (2023)). The second sum is what virials
have to give, and is differenced here: for one i and one Cartesian a it is the derivative of E_i along the
displacements (r_i - r_j)_a v_j of all j, in a free cluster that holds every atom that E_i depends on.
"""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.units import fs

from mollifield import contract, find_edges, load_artefact
from mollifield.artefact import Artefact
from mollifield.potential import types_of
from mollifield_lammps import lammps_boundary, write_data

from ..conftest import R_MAX, ethanol, sheared_crystal
from ..lammps_runner import run_deck
from .conftest import SPECIES, deck

FLUX = """
compute ke all ke/atom
compute pe all pe/atom pair
compute stress all centroid/stress/atom NULL pair
compute flux all heat/flux ke pe stress
thermo_style custom step c_flux[*]
thermo_modify format float %.17g
run 0
"""
STEP = 5e-6  # ps; the displacements are some 10 Å^2/ps times this


def moving(atoms: Atoms) -> Atoms:
    """With velocities of some Å/ps, different for every atom."""
    rng = np.random.default_rng(3)
    atoms.set_velocities(0.03 * rng.normal(size=(len(atoms), 3)))
    return atoms


def cluster(atoms: Atoms, reach: float) -> Atoms:
    """Atoms of the cell first, then all of their images within `reach` of one of them, without periodicity."""
    periodic = atoms.pbc
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0) if periodic.any() else np.ones(3)
    n = [int(np.ceil(reach / h)) + 1 if p else 0 for h, p in zip(heights, periodic, strict=True)]
    whole = atoms.copy()
    for shift in np.ndindex(*(2 * k + 1 for k in n)):
        shift = np.array(shift) - n
        if not shift.any():
            continue
        image = atoms.copy()
        image.positions += shift @ atoms.cell.array
        distances = np.linalg.norm(image.positions[:, None] - atoms.positions[None], axis=-1)
        whole += image[distances.min(axis=1) < reach]
    whole.pbc = False
    return whole


def atomic_energies(artefact: Artefact, atoms: Atoms) -> np.ndarray:
    """[N] in eV, mean over members."""
    edges = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, artefact.r_max)
    with torch.no_grad():
        outputs = artefact.module(
            torch.tensor(edges.edge_vectors)[None],
            torch.tensor(edges.edge_index),
            torch.tensor(types_of(atoms.get_chemical_symbols(), artefact.species)),
        )
    return outputs[contract.ATOMIC_ENERGIES].mean(0).numpy()


def expected_virial_flux(model, atoms: Atoms, n_layers: int) -> np.ndarray:
    """[3] in eV Å/ps."""
    artefact = load_artefact(model, verify=False)
    whole = cluster(atoms, n_layers * R_MAX + 0.5)
    velocities = whole.get_velocities() * 1e3 * fs  # Å/ps
    flux = np.zeros(3)
    for i in range(len(atoms)):
        for a in range(3):
            away = whole.positions[i, a] - whole.positions[:, a]
            energies = []
            for sign in (1.0, -1.0):
                moved = whole.copy()
                moved.positions += sign * STEP * away[:, None] * velocities
                energies.append(atomic_energies(artefact, moved)[i])
            flux[a] += (energies[0] - energies[1]) / (2.0 * STEP)
    return flux


def lammps_flux(
    model, atoms: Atoms, directory, n_ranks=1, pair="mollifield", before=""
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the virials and the whole, both [3] in eV Å/ps, in the frame of `atoms`."""
    directory.mkdir(exist_ok=True)
    rotation = write_data(directory / "atoms.data", atoms, SPECIES)
    text = deck(model, lammps_boundary(atoms), FLUX, pair=pair, before=before)
    thermo = run_deck(text, directory, n_ranks).thermo
    values = np.array([thermo[f"c_flux[{k}]"][0] for k in range(1, 7)])
    return rotation @ (values[:3] - values[3:]), rotation @ values[:3]


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_molecule(n_layers, write_model, tmp_path):
    model = write_model(n_layers=n_layers)
    atoms = moving(ethanol())
    flux = lammps_flux(model, atoms, tmp_path)[0]
    expected = expected_virial_flux(model, atoms, n_layers)
    np.testing.assert_allclose(flux, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("n_ranks, halo", [(1, "exchange"), (2, "exchange"), (2, "ghost")])
def test_crystal(n_ranks, halo, write_model, tmp_path):
    """Cells shorter than r_max: most edges lead to images."""
    model = write_model(n_layers=2)
    atoms = moving(sheared_crystal())
    flux = lammps_flux(model, atoms, tmp_path, n_ranks, f"mollifield halo {halo}")[0]
    expected = expected_virial_flux(model, atoms, 2)
    np.testing.assert_allclose(flux, expected, atol=1e-6 * np.abs(expected).max())
