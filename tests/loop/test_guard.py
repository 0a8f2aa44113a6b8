"""Frames that must not reach the oracle."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mollifield_train.active.guard import count_fragments, why_unphysical


def judge(atoms: Atoms, max_fragments: int = 1) -> str | None:
    return why_unphysical(atoms, min_distance=0.5, max_gap=3.0, max_fragments=max_fragments)


@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), bulk("Cu"), bulk("NaCl", "rocksalt", 5.6)])
def test_sound_frames_pass(atoms: Atoms) -> None:
    assert judge(atoms) is None


def test_overlap_is_named_with_both_atoms() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.positions[4] = atoms.positions[1] + [0.0, 0.0, 0.3]
    assert "atoms 1 and 4 are 0.300 Å apart" in str(judge(atoms))


def test_overlap_across_the_boundary() -> None:
    atoms = Atoms("Cu2", [[0.1, 0, 0], [3.9, 0, 0]], cell=[4, 4, 4], pbc=True)
    assert "0.200 Å" in str(judge(atoms))


def test_flying_fragment() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.positions[-1] += [8.0, 0.0, 0.0]
    assert "2 fragments" in str(judge(atoms))
    assert judge(atoms, max_fragments=2) is None


def test_two_molecules_that_belong_apart() -> None:
    pair = molecule("H2O")
    pair.extend(Atoms(pair.numbers, pair.positions + [10.0, 0.0, 0.0]))
    assert count_fragments(pair, 3.0) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad: float) -> None:
    atoms = molecule("H2O")
    atoms.positions[0, 0] = bad
    assert "not finite" in str(judge(atoms))
