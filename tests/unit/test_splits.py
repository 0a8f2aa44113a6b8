"""Sides of frames: by content alone, kept while the set grows."""

import numpy as np
from ase import Atoms

from mollifield_train.data.frames import frames_from_atoms, read_frames
from mollifield_train.data.splits import is_validation, split_frames, validation_from

from .frames import labelled, moved_water, written


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


def test_an_element_is_never_for_validation_alone():
    rng = np.random.default_rng(0)
    images = moved_water(30)
    for k in range(6):
        atoms = images[k].copy()
        atoms.symbols[0] = "S" if k < 3 else "Se"
        atoms.positions += rng.normal(scale=0.1, size=(3, 3))
        images.append(labelled(atoms))
    frames = frames_from_atoms(images, "memory")
    for seed in range(30):
        training, validation = split_frames(frames, 0.5, seed)
        assert {s for f in training for s in f.symbols} == {"H", "O", "S", "Se"}
        assert len(training) + len(validation) == 36 and validation


def test_copies_lie_on_the_same_side():
    images: list[Atoms] = moved_water(20)
    frames = frames_from_atoms(images + images, "memory")
    training, validation = split_frames(frames, 0.3, seed=0)
    assert validation and not {f.content for f in training} & {f.content for f in validation}
