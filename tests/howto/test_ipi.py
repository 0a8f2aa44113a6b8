"""i-PI itself, as the page runs it: its committee is ours."""

import os
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.units import Ha

from mollifield import load_artefact
from mollifield.potential import evaluate
from mollifield.properties.path_integral import _running

from ..conftest import ethanol
from .pages import commands_of, files_of, run


def numbers_of(path: Path) -> list[np.ndarray]:
    """Of a file of extras: an array a step."""
    blocks = path.read_text().split("#EXTRAS")[1:]
    return [np.array(" ".join(block.splitlines()[1:]).split(), dtype=float) for block in blocks]


def test_ipi_gets_the_members(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipi")
    monkeypatch.chdir(tmp_path)
    address = f"ethanol{os.getpid()}"  # two runs of the tests have two sockets
    text = files_of("ipi.md")["input.xml"].replace("<address> ethanol", f"<address> {address}")
    Path("input.xml").write_text(text)
    Path("model.pt").write_bytes(model_file.read_bytes())
    atoms = ethanol()
    atoms.set_cell(100.0 * np.eye(3))
    ase.io.write("start.xyz", atoms, format="extxyz")
    (words,) = commands_of("ipi.md")
    with _running(tmp_path) as server:
        socket = Path(f"/tmp/ipi_{address}")
        while not socket.exists():
            assert server.poll() is None, server.communicate()[0]
            time.sleep(0.05)
        run([address if word == "ethanol" else word for word in words])
        server.wait(30.0)
    artefact = load_artefact("model.pt")
    members, stds = numbers_of(Path("run.members_0")), numbers_of(Path("run.std_0"))
    frames = ase.io.read("run.positions_0.xyz", ":", format="xyz")
    assert len(members) == len(stds) == len(frames) == 6
    for found, std, frame in zip(members, stds, frames, strict=True):
        expected = evaluate(
            artefact, atoms.get_chemical_symbols(), frame.positions, np.zeros((3, 3)), Atoms().pbc, members=False
        ).energies.numpy()
        np.testing.assert_allclose(found * Ha, expected, atol=2e-4)  # eV: positions are written with few digits
        assert std * Ha == pytest.approx(np.std(found * Ha, ddof=1), rel=1e-4)
