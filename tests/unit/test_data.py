"""Frames: labels under every name, every mistake named, batches equal to single frames."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from mollifield_train.data.batches import SeededBatches, build_graphs, collate
from mollifield_train.data.frames import Reading, frames_from_atoms, read_frame_sets, read_frames
from mollifield_train.data.graph_sets import InMemory, average_neighbours
from mollifield_train.data.keys import LabelKeys
from mollifield_train.data.statistics import THERMAL_FORCE, force_scale

from .frames import labelled, water, written


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
    named = read_frames(written(tmp_path, atoms), Reading(LabelKeys(energy="energy", forces="forces")))[0]
    assert named.energy == 5.0
    np.testing.assert_allclose(named.forces, atoms.calc.results["forces"], atol=1e-8)


def with_reference(atoms: Atoms, *labels: str) -> Atoms:
    """Labels of another method beside ASE's."""
    values = {"energy": -7.0, "forces": np.full((len(atoms), 3), 0.5), "stress": np.eye(3)}
    for label in labels:
        (atoms.arrays if label == "forces" else atoms.info)[f"REF_{label}"] = values[label]
    return atoms


def test_levels_of_theory_never_mix_in_a_file():
    both = r"frame 0 of memory has 'REF_energy', frame 1 of memory has 'energy' and no 'REF_energy'"
    with pytest.raises(ValueError, match=both):
        frames_from_atoms([with_reference(water(), "energy", "forces"), water()], "memory")
    one = r"frame 0 of memory has 'REF_energy', frame 0 of memory has 'forces' and no 'REF_forces'"
    with pytest.raises(ValueError, match=one):
        frames_from_atoms([with_reference(water(), "energy")], "memory")
    crystal = with_reference(labelled(bulk("Si"), stress=np.ones(6)), "energy", "forces")
    with pytest.raises(ValueError, match="has 'stress' and no 'REF_stress': two levels of theory"):
        frames_from_atoms([crystal], "memory")
    told = LabelKeys(energy="REF_energy", forces="forces", stress="stress")
    frame = frames_from_atoms([crystal], "memory", told)[0]
    assert frame.energy == -7.0 and frame.stress[0, 0] == 1.0
    np.testing.assert_array_equal(frame.forces, crystal.get_forces())


def test_levels_of_theory_never_mix_across_files(tmp_path):
    train = written(tmp_path, with_reference(water(), "energy", "forces"))
    valid = written(tmp_path, water(), name="valid.xyz")
    for files in ([[train, valid]], [train, valid], [valid, train]):
        with pytest.raises(ValueError, match=r"frame 0 of \S+frames.xyz has 'REF_energy', frame 0 of \S+valid.xyz"):
            read_frame_sets(files)
    told = LabelKeys(energy="energy", forces="forces")
    assert [[f.energy for f in frames] for frames in read_frame_sets([train, valid], Reading(told))] == [[-1.0], [-1.0]]


def test_frames_are_used_for_the_labels_that_they_have(tmp_path):
    """Energies only, forces only, and nothing at all."""
    energy, forces, nothing = (molecule("H2O") for _ in range(3))
    energy.calc = SinglePointCalculator(energy, energy=-2.0)
    forces.calc = SinglePointCalculator(forces, forces=np.ones((3, 3)))
    frames = read_frames(written(tmp_path, water(), energy, forces))
    assert [frame.labels for frame in frames] == [["energy", "forces"], ["energy"], ["forces"]]
    batch = collate(build_graphs(frames, ["H", "O"], 3.0))
    assert batch.has_energy.tolist() == [True, True, False]
    assert batch.has_forces.tolist() == [True, False, True]
    assert batch.energies.tolist() == [-1.0, -2.0, 0.0]
    assert (batch.forces[3:6] == 0.0).all() and (batch.forces[6:] == 1.0).all()
    path = written(tmp_path, water(), nothing)
    with pytest.raises(
        ValueError,
        match=r"frame 1 of .*frames\.xyz: none of 'energy', 'forces', 'stress'; .*positions.*told by energy_key",
    ):
        read_frames(path)
    with pytest.raises(ValueError, match=r"frames\.xyz: no frame has 'dft_energy' \(energy\)"):
        read_frames(path, Reading(LabelKeys(energy="dft_energy")))


def test_isolated_atoms_have_no_neighbours():
    """A free atom, forces or not, box or not; the primitive cell of a crystal is none, forces or not."""
    atom = Atoms("H")
    atom.info["energy"] = -13.6
    box = Atoms("H", cell=[9.0, 12.0, 10.0], pbc=True)
    box.info["energy"] = -13.6
    crystal = bulk("Cu")
    crystal.info["energy"] = -3.7
    skewed = Atoms("Cu", cell=[[20.0, 0, 0], [18.0, 3.0, 0], [0, 0, 20.0]], pbc=True)  # images at 3.6 Å
    skewed.info["energy"] = -3.7
    zero = Atoms("H")
    zero.calc = SinglePointCalculator(zero, energy=-13.6, forces=np.zeros((1, 3)))
    images = [atom, zero, box, crystal, labelled(bulk("Cu")), skewed, water()]
    found = [frame.is_isolated_atom for frame in frames_from_atoms(images, "memory")]
    assert found == [True, True, True, False, False, False, False]


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
    atoms = with_reference(labelled(bulk("Si")), "energy", "forces")
    atoms.info["REF_stress"] = stress
    with pytest.raises(ValueError, match=f"frame 0 of memory: 'REF_stress' .*{message}"):
        frames_from_atoms([atoms], "memory")


def test_stress_without_three_periodic_directions_is_ignored():
    molecule_ = water()
    molecule_.info["REF_stress"] = np.zeros(6)
    molecule_.info["REF_energy"] = -1.0
    molecule_.arrays["REF_forces"] = np.ones((3, 3))
    slab = labelled(bulk("Si"), stress=np.ones(6))
    slab.calc.atoms.pbc = slab.pbc = [True, True, False]
    assert frames_from_atoms([molecule_], "memory")[0].stress is None
    assert frames_from_atoms([slab], "memory")[0].stress is None


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


def test_scale_of_forces_is_their_rms():
    frames = frames_from_atoms([water(), labelled(molecule("CO"))], "memory")
    forces = np.concatenate([f.forces.ravel() for f in frames])
    assert force_scale(frames) == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-12)
    graphs = build_graphs(frames, ["H", "C", "O"], 5.0)
    assert average_neighbours(InMemory(graphs)) == pytest.approx((3 * 2 + 2 * 1) / 5)


def test_relaxed_frames_set_no_scale():
    relaxed = water()
    relaxed.calc.results["forces"] *= 1e-3
    assert force_scale(frames_from_atoms([relaxed], "memory")) == THERMAL_FORCE
    energy = molecule("H2O")
    energy.info["energy"] = -1.0
    assert force_scale(frames_from_atoms([energy], "memory")) == THERMAL_FORCE


def test_one_wrong_force_sets_no_scale():
    images = [water() for _ in range(30)]
    usual = force_scale(frames_from_atoms(images, "memory"))
    images[3].calc.results["forces"][1, 2] = 1e4
    assert force_scale(frames_from_atoms(images, "memory")) < 3.0 * usual


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
