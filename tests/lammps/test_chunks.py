"""A graph evaluated chunk by chunk gives the numbers of the whole: forces, energies and virials of atoms, heat-flux
virials, stds, noise, latent distances. float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mollifield_lammps import LammpsError, write_data
from mollifield_train.export import export

from ..conftest import build_potential, ethanol, sheared_crystal
from ..contract.noise import committee, noise_head
from ..contract.samples import paired_samples
from ..lammps_runner import run_deck
from .conftest import SPECIES, deck
from .test_halo import assert_close, run_all
from .test_pair import large_crystal

RTOL = 1e-12  # of the largest: the same terms in another order
MODELS = ["committee", "samples", "three layers"]
FEW = "mollifield chunk 90"
"""Edges; an atom of the crystal has about 60."""

COMMANDS = """
compute e all pe/atom pair
compute c all centroid/stress/atom NULL pair
compute s all stress/atom NULL pair
compute p all pressure NULL pair
fix u all mollifield/uncertainty 1
thermo_style custom step pe c_p[*] f_u f_u[2] f_u[4] f_u[9]
thermo_modify format float %.17g
dump d all custom 1 d.dump id fx fy fz c_e c_c[*] c_s[*] f_u[*]
dump_modify d sort id format float %.17g
run 0
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trunk for each member and a noise head; samples on one trunk, of which a basis is differentiated."""
    folder = tmp_path_factory.mktemp("models")
    paths = {name: folder / f"{name.replace(' ', '-')}.pt" for name in MODELS}
    frames = [ethanol()]
    export(committee(), paths["committee"], frames, training_frames=frames, noise_head=noise_head(3))
    samples, basis = paired_samples()
    export(samples, paths["samples"], frames, splines=False, training_frames=frames, basis=basis)
    deep = build_potential(torch.float64, 2, n_layers=3)
    export(deep, paths["three layers"], frames, splines=False, training_frames=frames)
    return paths


def answer(model: Path, directory: Path, pair: str, n_ranks: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Columns of atoms, and totals."""
    directory.mkdir()
    write_data(directory / "atoms.data", large_crystal(), SPECIES)
    thermo = run_deck(deck(model, "p p p", COMMANDS, pair=pair), directory, n_ranks).thermo
    totals = np.array([column[0] for name, column in thermo.items() if name != "Step"])
    return np.loadtxt(directory / "d.dump", skiprows=9)[:, 1:], totals


@pytest.fixture(scope="module")
def whole(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("whole")
    return {name: answer(path, folder / path.stem, "mollifield") for name, path in models.items()}


@pytest.mark.parametrize(
    "name, n_ranks, pair",
    [
        *[(name, 1, FEW) for name in MODELS],
        *[(name, 2, FEW) for name in MODELS],
        ("committee", 1, "mollifield chunk 1"),
        ("committee", 1, f"{FEW} driver member 1"),
        ("three layers", 2, f"{FEW} halo ghost"),
        ("committee", 4, FEW),
    ],
)
def test_chunks_are_the_whole(name, n_ranks, pair, models, whole, tmp_path):
    expected = whole[name]
    if "driver" in pair:
        expected = answer(models[name], tmp_path / "driven", "mollifield driver member 1")
    for found, wanted in zip(answer(models[name], tmp_path / "run", pair, n_ranks), expected, strict=True):
        scale = np.abs(wanted).max(axis=0) + 1e-300
        np.testing.assert_allclose(found / scale, wanted / scale, rtol=0.0, atol=RTOL * len(large_crystal()))


def test_one_member_and_the_mean(model_file, tmp_path):
    """Where nobody asks for members: one drives, or all of them do."""
    for driver in ("driver mean", "driver member 1"):
        found = []
        for chunk in ("", "chunk 90"):
            write_data(tmp_path / "atoms.data", large_crystal(), SPECIES)
            commands = "dump d all custom 1 d.dump id fx fy fz\ndump_modify d sort id format float %.17g\nrun 0"
            run_deck(deck(model_file, "p p p", commands, pair=f"mollifield {driver} {chunk}"), tmp_path)
            found.append(np.loadtxt(tmp_path / "d.dump", skiprows=9)[:, 1:])
        np.testing.assert_allclose(found[0], found[1], rtol=0.0, atol=1e-12 * np.abs(found[0]).max() * len(found[0]))


@pytest.mark.parametrize("n_ranks", [1, 3])
def test_chunks_through_dynamics(n_ranks, model_file, tmp_path):
    """Atoms that come and go between ranks and chunks; vacuum; a rank that has no atom."""
    names = ["created", "corner", "shift"]
    outcomes = [
        run_all(model_file, tmp_path / halo.replace(" ", "-"), n_ranks, halo, names)
        for halo in ("exchange", "exchange chunk 60")
    ]
    for name in names:
        found, wanted = (outcome.atoms[name] for outcome in outcomes)
        assert_close(found, wanted, np.abs(wanted).max(axis=0), name)


def test_wrong_chunk(model_file, tmp_path):
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    with pytest.raises(LammpsError, match="chunk must be at least 1, found 0"):
        run_deck(deck(model_file, "p p p", "run 0", pair="mollifield chunk 0"), tmp_path)
