"""The client of i-PI against ASE's server: what arrives is what the Calculator says, members included."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.socketio import SocketServer
from ase.units import Bohr, Ha

from mollifield import MollifieldCalculator, load_artefact
from mollifield.ipi import IpiClient
from mollifield.potential import evaluate
from tests.conftest import ethanol, sheared_crystal


def served(model: Path, atoms: Atoms, name: str, **options: object) -> tuple[list[dict], int]:
    """What a server gets for two geometries, and how often the client answered."""
    answers: list[dict] = []
    counts: list[int] = []
    with SocketServer(unixsocket=name, timeout=60.0) as server:
        thread = threading.Thread(
            target=lambda: counts.append(IpiClient(model, atoms, unixsocket=name, **options).serve())
        )
        thread.start()
        for seed in (0, 1):
            moved = atoms.copy()
            moved.rattle(0.05 * seed, seed=seed)
            answers.append(server.calculate(moved) | {"atoms": moved})
    thread.join(timeout=60.0)
    return answers, counts[0]


@pytest.mark.parametrize("make", [ethanol, sheared_crystal])
def test_the_server_gets_mean_and_members(model_file: Path, make: object, tmp_path: Path) -> None:
    answers, count = served(model_file, make(), f"mollifield_{tmp_path.name}")  # type: ignore[operator]
    assert count == 2
    artefact = load_artefact(model_file)
    for answer in answers:
        atoms = answer["atoms"]
        calculator = MollifieldCalculator(model_file)
        atoms.calc = calculator
        assert answer["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(answer["forces"], atoms.get_forces(), atol=1e-9)
        out = evaluate(artefact, list(atoms.symbols), atoms.positions, atoms.cell.array, atoms.pbc, members=True)
        np.testing.assert_allclose(answer["virial"], out.virial.mean(0), atol=1e-9)
        members = json.loads(np.asarray(answer["morebytes"], dtype=np.byte).tobytes())
        np.testing.assert_allclose(np.array(members["committee_pot"]) * Ha, out.energies, atol=1e-9)
        forces = np.array(members["committee_force"]).reshape(len(out.energies), -1, 3) * Ha / Bohr
        np.testing.assert_allclose(forces, out.forces, atol=1e-9)
        np.testing.assert_allclose(np.array(members["committee_virial"]) * Ha, out.virial, atol=1e-9)
        assert np.std(members["committee_pot"]) > 0.0
    assert answers[0]["energy"] != answers[1]["energy"]


def test_the_mean_alone(model_file: Path, tmp_path: Path) -> None:
    answers, _ = served(model_file, ethanol(), f"mollifield_{tmp_path.name}", committee=False)
    assert np.asarray(answers[1]["morebytes"], dtype=np.byte).tobytes() == b"\0"


@pytest.mark.filterwarnings("ignore:.*socket")  # ASE leaves one open where nobody listens
def test_wrong_atoms_and_nobody_there(model_file: Path) -> None:
    with pytest.raises(ValueError, match="atom 0 is Xe"):
        IpiClient(model_file, Atoms("Xe"), unixsocket="nobody")
    with pytest.raises(OSError):
        IpiClient(model_file, ethanol(), unixsocket="nobody")
