"""A model file says what it is, reproduces itself, and is refused when it is damaged."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from mollifield import MollifieldCalculator, contract, find_edges, load_artefact
from mollifield.potential import evaluate, types_of
from mollifield.verification import describe, verify_reference
from mollifield_train.export import export
from mollifield_train.model.architecture import Architecture
from mollifield_train.model.equivariant.config import EquivariantConfig
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import initialise, stack_members
from mollifield_train.tensor_file import write_tensors
from mollifield_train.testing import Engine
from mollifield_train.training.members import pack

from ..conftest import build_potential, eager_engine, ethanol, exported_engine, sheared_crystal


def test_attributes_survive(model_file: Path) -> None:
    artefact = load_artefact(model_file)
    assert artefact.species == ["H", "C", "O"]
    assert (artefact.r_max, artefact.n_layers, artefact.n_members) == (4.0, 2, 3)
    assert artefact.dtype == torch.float64
    assert artefact.summary["name"] == "test"
    assert len(artefact.reference_frames) == 2
    assert set(artefact.reference_frames[0]) == {
        value for name, value in vars(contract).items() if name.startswith("REF_")
    }


@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_a_file_knows_no_device(correlation: int, tmp_path: Path) -> None:
    """Nor e3nn: operators are asked, and choose by where the tensors lie."""
    potential = build_potential(torch.float64, backend="native", correlation=correlation, l_max=4 - correlation)
    assert not [module for module in potential.modules() if type(module).__module__.startswith("e3nn")]
    export(potential, tmp_path / "model.pt", [ethanol()], splines=False)
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        code = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}
    text = "".join(code.values())
    assert "ops.mollifield.convolution(" in text and "ops.mollifield.edge_geometry(" in text
    assert "cuda" not in text and "e3nn" not in "".join(code) + text


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exported_equals_eager(dtype: torch.dtype, tmp_path: Path) -> None:
    potential = build_potential(dtype)
    export(potential, tmp_path / "model.pt", [ethanol()], splines=False)
    frame = sheared_crystal()  # not among the reference frames
    eager, exported = eager_engine(potential)(frame), exported_engine(tmp_path / "model.pt")(frame)
    atol = 1e-10 if dtype == torch.float64 else 2e-5 * np.abs(eager.forces).max()
    np.testing.assert_allclose(exported.energies, eager.energies, rtol=1e-9 if atol > 1e-9 else 1e-13)
    np.testing.assert_allclose(exported.forces, eager.forces, atol=atol)


def test_mean_forces_are_the_mean_of_the_members(loaded: MollifieldCalculator) -> None:
    artefact, frame = loaded.artefact, sheared_crystal()
    arguments = (artefact, frame.get_chemical_symbols(), frame.positions, frame.cell.array, frame.pbc)
    mean, members = evaluate(*arguments), evaluate(*arguments, members=True)
    np.testing.assert_allclose(mean.forces[0], members.forces.mean(0), atol=1e-10)
    np.testing.assert_allclose(mean.virial[0], members.virial.mean(0), atol=1e-9)


def test_stacking_keeps_each_member(tmp_path: Path) -> None:
    committee = build_potential(torch.float64, n_members=3)
    singles = []
    for seed in (7, 8, 9):  # member m of a committee is drawn from seed + m
        single = build_potential(torch.float64, n_members=1)
        initialise(single, seed)
        single.readout.weight_2.data.mul_(10.0)
        singles.append(single)
    export(singles, tmp_path / "model.pt", [ethanol()], splines=False)
    expected = eager_engine(committee)(sheared_crystal())
    found = exported_engine(tmp_path / "model.pt")(sheared_crystal())
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-13)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-10)


def test_stacking_refuses_other_architectures() -> None:
    other = EquivariantPotential(
        Architecture(
            settings=EquivariantConfig(r_max=3.0),
            species=("H",),
            average_neighbours=1.0,
            atomic_shifts=(0.0,),
            energy_scale=1.0,
            n_members=1,
            dtype=torch.float32,
        )
    )
    with pytest.raises(ValueError, match="member 1 has species"):
        stack_members([build_potential(torch.float32), other])


def test_export_needs_a_reference_frame(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one reference frame"):
        export(build_potential(torch.float32), tmp_path / "model.pt", [])


def test_splines_are_close_and_say_how_close(
    double_potential: Potential, loaded: MollifieldCalculator, exported: Engine
) -> None:
    """Within 0.1 meV/Å of the radial network on a reference frame, as the file states."""
    stated = loaded.artefact.summary["splines"]
    exact, tabulated = eager_engine(double_potential)(ethanol()), exported(ethanol())
    difference = np.abs(exact.forces - tabulated.forces).max()
    rounding = 1.0 + 1e-6
    assert 0.0 < difference <= stated["max_force_error"] * rounding <= 1e-4
    per_atom = np.abs(exact.energies - tabulated.energies).max() / len(ethanol())
    in_eV = 1e-12  # a difference of sums of some eV has a rounding of its own
    assert per_atom <= stated["max_energy_error_per_atom"] + in_eV < 1e-6


def test_splines_that_change_forces_are_refused(tmp_path: Path) -> None:
    """No table of 2048 knots follows forces of 1e5 eV/Å to 0.1 meV/Å."""
    potential = build_potential(torch.float64)
    potential.readout.weight_2.data.mul_(1e4)
    with pytest.raises(ValueError, match="splines of 2048 knots change forces by .* allowed is 0.1"):
        export(potential, tmp_path / "model.pt", [ethanol()])
    assert not (tmp_path / "model.pt").exists()


def test_describe_names_the_essentials(loaded: MollifieldCalculator) -> None:
    page = describe(loaded.artefact)
    for text in ("H C O", "4.0 Å, 2 layers", "float64", "2 frames reproduced"):
        assert text in page


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.pt: no such model file"):
        load_artefact(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("kept", [0, 10, 5000, -100])
def test_truncated_file(model_file: Path, tmp_path: Path, kept: int) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(model_file.read_bytes()[:kept])
    with pytest.raises(ValueError, match="broken.pt: truncated, or not a model file"):
        load_artefact(broken)


def test_flipped_bits_are_found(model_file: Path, tmp_path: Path) -> None:
    """One damaged byte in the weights: torch reads them without a look at the checksum."""
    data = bytearray(model_file.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        entry = max(archive.infolist(), key=lambda info: info.file_size)
    data[entry.header_offset + 300 + entry.file_size // 2] ^= 0x40
    broken = tmp_path / "broken.pt"
    broken.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="corrupted: checksum of"):
        load_artefact(broken)


def test_foreign_files(tmp_path: Path) -> None:
    archive = tmp_path / "weights.pt"
    torch.save({"weights": torch.zeros(3)}, archive)
    with pytest.raises(ValueError, match="weights.pt: not a readable model file"):
        load_artefact(archive)
    text = tmp_path / "notes.pt"
    text.write_text("not a model")
    with pytest.raises(ValueError, match="truncated, or not a model file"):
        load_artefact(text)


@pytest.mark.parametrize("content", [{"potential"}, {"potential", "best"}])
def test_training_checkpoint_is_to_be_exported(content: set[str], tmp_path: Path) -> None:
    """members.pt and last.ckpt, of which nothing is damaged."""
    path = tmp_path / "members.pt"
    write_tensors(path, dict.fromkeys(content, pack(build_potential(torch.float32))) | {"metrics": {}})
    expected = r"members.pt: a training checkpoint, .*`mollifield export RUN_DIRECTORY -o model.pt`"
    with pytest.raises(ValueError, match=expected):
        load_artefact(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="members.pt: truncated"):
        load_artefact(path)


def test_disagreeing_reference_is_refused(model_file: Path) -> None:
    artefact = load_artefact(model_file, verify=False)
    assert max(verify_reference(artefact).values()) < 1e-9
    artefact.reference_frames[1][contract.REF_FORCES][0, 3, 1] += 1e-6
    with pytest.raises(ValueError, match="reference frame 1: forces differs by"):
        verify_reference(artefact)


def test_unknown_species_is_named(exported: Engine) -> None:
    atoms = Atoms("OSi", positions=[[0, 0, 0], [0, 0, 1.6]])
    with pytest.raises(ValueError, match="atom 1 is Si; this model knows H, C, O"):
        exported(atoms)


def test_unknown_device_is_refused(model_file: Path) -> None:
    with pytest.raises(ValueError, match="device 'gpu': allowed are auto, cpu, cuda"):
        load_artefact(model_file, device="gpu")


@pytest.mark.parametrize(
    "settings", [{"correlation": 2}, {"correlation": 3, "messages": "scattered", "rms_norm": True}], ids=str
)
@pytest.mark.parametrize("backend", ["native", "e3nn"])
def test_stages_on_two_domains_equal_the_whole(backend: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Each domain sees its own edges; features of its ghosts come from the other one."""
    export(
        build_potential(torch.float64, backend=backend, n_layers=3, zbl=True, **settings),
        tmp_path / "model.pt",
        [ethanol()],
        splines=False,
    )
    module = load_artefact(tmp_path / "model.pt").module
    frame = sheared_crystal()
    edges = find_edges(frame.positions, frame.cell.array, frame.pbc, 4.0)
    index, vectors = torch.tensor(edges.edge_index), torch.tensor(edges.edge_vectors)[None]
    types = torch.tensor(types_of(frame.get_chemical_symbols(), ["H", "C", "O"]))
    expected = module(vectors, index, types)

    n = len(frame)
    domains = []
    for mine in (torch.arange(3), torch.arange(3, n)):
        order = torch.cat([mine, torch.tensor([i for i in range(n) if i not in mine])])
        kept = torch.isin(index[0], mine)
        place = torch.empty(n, dtype=torch.int64)
        place[order] = torch.arange(n)
        local_index = place[index[:, kept]]
        x, harmonics, basis, lengths = module.embed(vectors[:, kept], types[order])
        domains.append([order, len(mine), local_index, x, harmonics, lengths, basis])
    for k in range(3):
        sent = [module.send(k, x if k == 0 else x[:, :n_local]) for _, n_local, _, x, *_ in domains]
        if k > 0:
            merged = torch.cat(sent, dim=1)
            sent = [merged[:, order] for order, *_ in domains]
        for domain, rows in zip(domains, sent, strict=True):
            order, n_local, local_index, x, *geometry = domain
            domain[3] = module.receive(k, rows, x[:, :n_local], *geometry, local_index, types[order])
    for order, n_local, local_index, x, _, lengths, _ in domains:
        found = module.read(x, lengths, local_index, types[order])
        assert found.keys() == expected.keys() == {"atomic_energies", "latent"}
        for name, tolerance in (("atomic_energies", 1e-9), ("latent", 1e-10)):
            torch.testing.assert_close(
                found[name], expected[name][:, order[:n_local]], rtol=0.1 * tolerance, atol=tolerance
            )
