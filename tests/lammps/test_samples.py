"""Samples on one trunk in LAMMPS: what the same weights give as whole members, on any number of ranks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mollifield_train.export import export
from mollifield_train.model.samples import member_state

from ..conftest import build_potential, ethanol, sheared_crystal
from ..contract.samples import paired_samples, sampled_potential, separately
from .conftest import lammps_answer, python_answer
from .test_halo import assert_close, run_all

SCENARIOS = ["slab", "corner", "created"]
SETTINGS = {"zbl": True, "correlation": 2, "messages": "scattered"}
TRAINED_ON = [ethanol()]
"""Atoms of the crystals lie outside."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Samples without a linear part, and the same weights as a committee with a trunk for each member."""
    samples = sampled_potential()
    state = member_state(samples)
    state.pop("readout.weight_3").zero_()
    committee = build_potential(torch.float64, 4, **SETTINGS)
    for name, tensor in member_state(committee).items():
        tensor.copy_(state[name])
    folder = tmp_path_factory.mktemp("samples")
    paths = folder / "samples.pt", folder / "committee.pt"
    for path, model in zip(paths, (samples, committee), strict=True):
        export(model, path, [ethanol()], splines=False, training_frames=TRAINED_ON)
    return paths


@pytest.fixture(scope="module")
def expected(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory):
    return run_all(files[1], tmp_path_factory.mktemp("committee") / "run", 1, "exchange", SCENARIOS)


@pytest.mark.parametrize("n_ranks, halo", [(1, "exchange"), (2, "exchange"), (4, "exchange"), (2, "ghost")])
def test_samples_are_the_committee(n_ranks: int, halo: str, files: tuple[Path, Path], expected, tmp_path: Path) -> None:
    """Forces, energies, virials and heat-flux virials of the mean; stds, outside included."""
    names = SCENARIOS if halo == "exchange" else ["slab"]
    outcome = run_all(files[0], tmp_path / "run", n_ranks, halo, names)
    for name in names:
        found, wanted = outcome.atoms[name], expected.atoms[name]
        assert_close(found, wanted, np.abs(wanted).max(axis=0), name)
        assert_close(outcome.totals[name], expected.totals[name], len(found) * np.abs(expected.totals[name]), name)
        assert wanted[:, -1].min() > 0.0


def test_one_sample_drives(tmp_path: Path) -> None:
    """With its linear part, as a model by itself."""
    samples = sampled_potential()
    export(samples, tmp_path / "samples.pt", [ethanol()], splines=False)
    single = separately(samples)[2]
    export(single, tmp_path / "single.pt", [ethanol()], splines=False)
    pair = "mollifield driver member 2"
    found = lammps_answer(tmp_path / "samples.pt", sheared_crystal(), tmp_path / "a", n_ranks=2, pair=pair)
    expected = python_answer(tmp_path / "single.pt", sheared_crystal())
    np.testing.assert_allclose(found.forces, expected.forces[0].numpy(), rtol=0, atol=1e-9)
    assert found.energy == pytest.approx(float(expected.energies), abs=1e-9 * len(sheared_crystal()))


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_pairs_in_lammps(n_ranks: int, tmp_path: Path) -> None:
    """A file with a basis, of whose members alone gradients are taken, and the same without."""
    samples, basis = paired_samples()
    outcomes = []
    for name, of in (("with", basis), ("without", None)):
        export(samples, tmp_path / f"{name}.pt", [ethanol()], splines=False, training_frames=TRAINED_ON, basis=of)
        outcomes.append(run_all(tmp_path / f"{name}.pt", tmp_path / name, n_ranks, "exchange", ["slab"]))
    found, wanted = (outcome.atoms["slab"] for outcome in outcomes)
    assert_close(found, wanted, np.abs(wanted).max(axis=0), "slab")
    totals = (outcome.totals["slab"] for outcome in outcomes)
    np.testing.assert_allclose(*totals, rtol=1e-9)
