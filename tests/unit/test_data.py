"""Frames: labels under every name, every mistake named, batches equal to single frames."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield_train.data.batches import SeededBatches, average_neighbours, build_graphs, collate
from mollifield_train.data.frames import LabelKeys, frames_from_atoms, read_frames
from mollifield_train.data.splits import is_validation, split_frames, validation_from
from mollifield_train.data.statistics import (
    energy_shifts,
    force_rms,
    least_absolute_shifts,
    least_squares_shifts,
    species_of,
)


def labelled(atoms: Atoms, energy: float = -1.0, **extra: object) -> Atoms:
    atoms = atoms.copy()
    forces = np.random.default_rng(len(atoms)).normal(size=(len(atoms), 3))
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, **extra)
    return atoms


def written(tmp_path: Path, *images: Atoms) -> Path:
    path = tmp_path / "frames.xyz"
    ase.io.write(path, list(images), format="extxyz")
    return path


def water(energy: float = -1.0, **extra: object) -> Atoms:
    return labelled(molecule("H2O"), energy, **extra)


def test_ase_results_are_read(tmp_path):
    crystal = labelled(bulk("Si", cubic=True), -8.5, stress=np.arange(1.0, 7.0))
    frame = read_frames(written(tmp_path, crystal))[0]
    assert frame.energy == -8.5
    np.testing.assert_allclose(frame.forces, crystal.get_forces(), atol=1e-8)
    np.testing.assert_array_equal(frame.stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    assert frame.origin.startswith("frame 0 of ") and frame.origin.endswith("frames.xyz")
    assert frame.pbc.all()


@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_reference_keys_come_first(tmp_path, shape):
    atoms = water(energy=5.0)
    atoms.set_cell(np.eye(3) * 9.0)
    atoms.pbc = True
    atoms.info["REF_energy"] = -7.0
    atoms.arrays["REF_forces"] = np.full((3, 3), 0.5)
    full = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    atoms.info["REF_stress"] = np.arange(1.0, 7.0) if shape == (6,) else full.reshape(shape)
    frame = read_frames(written(tmp_path, atoms))[0]
    assert frame.energy == -7.0
    assert (frame.forces == 0.5).all()
    np.testing.assert_array_equal(frame.stress, full)
    named = read_frames(written(tmp_path, atoms), LabelKeys(energy="energy", forces="forces"))[0]
    assert named.energy == 5.0
    np.testing.assert_allclose(named.forces, atoms.calc.results["forces"], atol=1e-8)


def test_levels_of_theory_never_mix_in_a_file():
    with_reference = water()
    with_reference.info["REF_energy"] = -7.0
    with pytest.raises(ValueError, match=r"frame 1 of memory: no 'REF_energy' \(energy\)"):
        frames_from_atoms([with_reference, water()], "memory")


def test_frame_without_forces_is_named(tmp_path):
    bare = molecule("H2O")
    bare.info["energy"] = -1.0
    path = written(tmp_path, water(), bare)
    with pytest.raises(ValueError, match=r"frame 1 of .*frames\.xyz: no 'forces'.*numbers, positions"):
        read_frames(path)
    with pytest.raises(ValueError, match=r"frame 0 of .*: no 'dft_energy' \(energy\)"):
        read_frames(path, LabelKeys(energy="dft_energy"))


def test_isolated_atoms_need_no_forces():
    atom = Atoms("H")
    atom.info["energy"] = -13.6
    frame = frames_from_atoms([atom], "memory")[0]
    assert frame.is_isolated_atom and frame.forces is None
    assert not frames_from_atoms([labelled(bulk("Cu"))], "memory")[0].is_isolated_atom


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_not_finite_are_named(tmp_path, value):
    forces = np.zeros((3, 3))
    forces[2, 1] = value
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=forces)
    with pytest.raises(ValueError, match=r"frame 1 of .*: 'forces' of atom 2 \(H\) not finite"):
        read_frames(written(tmp_path, water(), atoms))
    with pytest.raises(ValueError, match="'energy' is not finite"):
        frames_from_atoms([water(energy=value)], "memory")
    atoms = water()
    atoms.positions[1, 0] = value
    with pytest.raises(ValueError, match=r"'positions' of atom 1 \(H\) not finite"):
        frames_from_atoms([atoms], "memory")


@pytest.mark.parametrize(
    ("stress", "message"),
    [
        (np.zeros(5), r"shape \(5,\); allowed are \(6,\)"),
        (np.arange(9.0).reshape(3, 3), "not symmetric"),
        (np.full((3, 3), np.nan), "not finite"),
    ],
)
def test_wrong_stress_is_named(stress, message):
    atoms = labelled(bulk("Si"))
    atoms.info["REF_stress"] = stress
    with pytest.raises(ValueError, match=f"frame 0 of memory: 'REF_stress' .*{message}"):
        frames_from_atoms([atoms], "memory")


def test_stress_without_a_volume_is_an_error():
    atoms = water()
    atoms.info["REF_stress"] = np.eye(3)
    with pytest.raises(ValueError, match="has a 'REF_stress', but its cell has no volume"):
        frames_from_atoms([atoms], "memory")


def test_broken_files_are_named(tmp_path):
    path = written(tmp_path, water(), water())
    text = path.read_text()
    path.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"frames\.xyz: .*frame 1 is truncated: 3 atoms .* 2 lines"):
        read_frames(path)
    path.write_text(text[:-20])
    with pytest.raises(ValueError, match=r"frames\.xyz: .*frame 1 has \d columns in the line of atom 2"):
        read_frames(path)
    path.write_text(text.replace("\nO ", "\nQq ", 1))
    with pytest.raises(ValueError, match=r"frames\.xyz: .*frame 0: 'Qq' is no chemical symbol"):
        read_frames(path)
    path.write_text("")
    with pytest.raises(ValueError, match=r"frames\.xyz: "):
        read_frames(path)
    path.write_bytes(b"\x00\xff\xfe" * 50)
    with pytest.raises(ValueError, match=r"frames\.xyz: cannot be read as extended xyz"):
        read_frames(path)
    with pytest.raises(ValueError, match=r"nowhere\.xyz: no such file"):
        read_frames(tmp_path / "nowhere.xyz")


def test_atoms_on_top_of_each_other_are_named():
    atoms = water()
    atoms.positions[2] = atoms.positions[1]
    frames = frames_from_atoms([water(), atoms], "memory")
    with pytest.raises(ValueError, match="frame 1 of memory: atoms 1 and 2 are 0 Å apart"):
        build_graphs(frames, ["H", "O"], 3.0)


def test_unknown_species_is_named():
    frames = frames_from_atoms([water()], "memory")
    with pytest.raises(ValueError, match=r"frame 0 of memory: .*atomic number 8\).*knows .* 1, 6"):
        build_graphs(frames, ["H", "C"], 3.0)


def moved_water(n: int, seed: int = 0) -> list[Atoms]:
    """Different geometries; energies 0, 1, 2, ..."""
    rng = np.random.default_rng(seed)
    images = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.positions += rng.normal(scale=0.1, size=(3, 3))
        images.append(labelled(atoms, energy=k))
    return images


def test_split_is_seeded_and_complete():
    frames = frames_from_atoms(moved_water(400), "memory")
    training, validation = split_frames(frames, 0.2, seed=1)
    assert [f.energy for f in sorted(training + validation, key=lambda f: f.energy)] == list(range(400))
    assert 60 <= len(validation) <= 100  # 80 expected, standard deviation 8
    assert [f.energy for f in split_frames(frames, 0.2, seed=1)[1]] == [f.energy for f in validation]
    assert [f.energy for f in split_frames(frames, 0.2, seed=2)[1]] != [f.energy for f in validation]
    assert split_frames(frames, 0.0, seed=0) == (frames, [])


def test_added_frames_move_no_other_frame():
    """Nor do copies, the order of the file, the labels, or one more trip through a file."""
    frames = frames_from_atoms(moved_water(100), "memory")
    before = {f.content for f in split_frames(frames[:40], 0.1, seed=3)[1]}
    after = {f.content for f in split_frames(frames[::-1] + frames[:5], 0.1, seed=3)[1]}
    assert before and before == after & {f.content for f in frames[:40]}
    assert all(is_validation(key, 0.1, seed=3) for key in after)


def test_few_frames_are_all_trained_on():
    frames = frames_from_atoms(moved_water(30), "memory")
    assert validation_from(0.1) == 20
    assert split_frames(frames[:19], 0.1, seed=0) == (frames[:19], [])
    assert validation_from(0.0) == np.inf
    for seed in range(20):  # whatever the draw, both sides have frames
        for fraction in (0.1, 0.9):
            assert all(split_frames(frames[:20], fraction, seed))


def test_frames_that_were_trained_on_stay_there():
    frames = frames_from_atoms(moved_water(40), "memory")
    before = {f.content for f in frames[:19]}
    validation = split_frames(frames, 0.5, seed=0, trained_on=before)[1]
    assert validation and not before & {f.content for f in validation}
    assert split_frames(frames, 0.5, seed=0, trained_on={f.content for f in frames}) == (frames, [])


def test_a_frame_keeps_its_key_in_a_file_and_across_cells(tmp_path):
    images = moved_water(50)
    for k, atoms in enumerate(images):
        atoms.set_cell(np.eye(3) * (4.0 + 0.01 * k) + np.tri(3, k=-1) * 0.3)
        atoms.pbc = [True, True, k % 2 == 0]
    keys = [f.content for f in frames_from_atoms(images, "memory")]
    assert [f.content for f in read_frames(written(tmp_path, *images))] == keys
    assert len(set(keys)) == 50
    for atoms in images:
        atoms.positions[1] += atoms.cell[0] - 2 * atoms.cell[1]
    assert [f.content for f in frames_from_atoms(images, "memory")] == keys
    images[1].positions[0] += images[1].cell[2]  # not a periodic direction: another geometry
    assert frames_from_atoms(images[1:2], "memory")[0].content != keys[1]


def test_least_squares_recover_shifts_that_compositions_determine():
    true = {"H": -13.6, "C": -1030.0, "O": -2042.0}
    molecules = [molecule(name) for name in ("H2O", "CH4", "CO", "CH3CH2OH")]
    images = [labelled(a, sum(true[s] for s in a.get_chemical_symbols())) for a in molecules]
    frames = frames_from_atoms(images, "memory")
    species = species_of(frames)
    assert species == ["H", "C", "O"]
    shifts = energy_shifts(frames, [], species, "least_squares")
    assert shifts == pytest.approx([true[s] for s in species], rel=1e-10)


def test_one_composition_takes_the_solution_of_least_norm():
    frames = frames_from_atoms([water(energy=e) for e in (-10.0, -12.0)], "memory")
    shifts = energy_shifts(frames, [], ["H", "O"], "least_squares")
    # 2 h + o = -11 with h² + o² least: (h, o) along (2, 1).
    assert shifts == pytest.approx([-22.0 / 5.0, -11.0 / 5.0], rel=1e-10)


def test_shifts_from_isolated_atoms_or_given():
    frames = frames_from_atoms([water()], "memory")
    atoms = [Atoms("H"), Atoms("O")]
    for atom, energy in zip(atoms, (-13.6, -2042.0)):
        atom.info["energy"] = energy
    isolated = frames_from_atoms(atoms, "memory")
    assert energy_shifts(frames, isolated, ["H", "O"], "isolated_atoms") == [-13.6, -2042.0]
    with pytest.raises(ValueError, match="no energy shift for O in the isolated atoms"):
        energy_shifts(frames, isolated[:1], ["H", "O"], "isolated_atoms")
    assert energy_shifts(frames, [], ["H", "O"], {"H": -1.0, "O": -2.0, "C": -3.0}) == [-1.0, -2.0]
    with pytest.raises(ValueError, match=r"no energy shift for O in model\.shifts; present: H"):
        energy_shifts(frames, [], ["H", "O"], {"H": -1.0})


def test_force_rms_and_neighbours():
    frames = frames_from_atoms([water(), labelled(molecule("CO"))], "memory")
    forces = np.concatenate([f.forces.ravel() for f in frames])
    assert force_rms(frames) == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-12)
    graphs = build_graphs(frames, ["H", "C", "O"], 5.0)
    assert average_neighbours(graphs) == pytest.approx((3 * 2 + 2 * 1) / 5)


def test_collate_renumbers_atoms_frame_by_frame():
    stressed = labelled(bulk("Si", cubic=True), stress=np.ones(6))
    frames = frames_from_atoms([water(energy=1.0), stressed, water(energy=3.0)], "memory")
    graphs = build_graphs(frames, ["H", "O", "Si"], 3.0)
    batch = collate(graphs)
    assert batch.n_frames == 3 and batch.n_atoms.tolist() == [3, 8, 3]
    assert batch.energies.tolist() == [1.0, -1.0, 3.0]
    assert batch.has_stress.tolist() == [False, True, False]
    assert batch.volumes[1] == pytest.approx(bulk("Si", cubic=True).get_volume())
    start = 0
    for k, graph in enumerate(graphs):
        own = batch.frame_of_atom[batch.edge_index[0]] == k
        assert torch.equal(batch.edge_index[:, own] - start, graph.edge_index)
        assert torch.equal(batch.edge_vectors[own], graph.edge_vectors)
        start += graph.n_atoms


@pytest.mark.parametrize("sizes", [None, list(range(50))])
def test_order_depends_on_seed_and_epoch_alone(sizes):
    order, again = SeededBatches(50, 8, seed=4, sizes=sizes), SeededBatches(50, 8, seed=4, sizes=sizes)
    order.set_epoch(3)
    again.first_epoch = 2
    again.set_epoch(1)
    third = list(order)
    assert third == list(order) == list(again)
    assert sorted(frame for batch in third for frame in batch) == list(range(50))
    assert len(third) == len(order) == 7
    order.set_epoch(4)
    assert list(order) != third


def test_absolute_shifts_are_not_moved_by_a_few_bad_frames():
    """Two compositions, known energies, and one frame in ten off by 50 eV."""
    rng = np.random.default_rng(0)
    atoms = [Atoms("HHO" if k % 2 else "HOO", positions=np.eye(3)) for k in range(40)]
    frames = frames_from_atoms([labelled(a) for a in atoms], "test")
    exact = [sum({1: -13.6, 8: -2041.0}[z] for z in a.numbers) for a in atoms]
    energies = np.array([exact]) + rng.normal(0.0, 1e-3, 40)
    energies[0, ::10] += 50.0
    robust = least_absolute_shifts(frames, energies, ["H", "O"])[0]
    np.testing.assert_allclose(robust, [-13.6, -2041.0], atol=2e-3)
    assert abs(least_squares_shifts(frames, energies, ["H", "O"])[0] - robust).max() > 1.0


def test_batches_by_edges_are_even():
    """Frames of 8 to 800 edges: batches differ by the largest frame at most, and none is empty."""
    sizes = np.random.default_rng(1).choice([8, 80, 800], size=60, p=[0.5, 0.3, 0.2])
    even = SeededBatches(60, 10, seed=0, sizes=sizes)
    edges = [sizes[batch].sum() for batch in even]
    assert len(edges) == 6
    assert max(edges) - min(edges) <= 800
    by_frames = [sizes[batch].sum() for batch in SeededBatches(60, 10, seed=0)]
    assert max(by_frames) - min(by_frames) > 800
    assert all(SeededBatches(4, 1, seed=0, sizes=[0, 0, 0, 9]))
