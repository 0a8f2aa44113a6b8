"""Edges against a brute-force search over images."""

import itertools

import numpy as np
import pytest

from mollifield import find_edges


def brute_force(positions: np.ndarray, cell: np.ndarray, pbc: list[bool], r_max: float) -> set:
    images = [range(-6, 7) if p else range(1) for p in pbc]
    found = set()
    for shift in itertools.product(*images):
        for i, j in itertools.product(range(len(positions)), repeat=2):
            vector = positions[j] - positions[i] + np.array(shift) @ cell
            if (i != j or any(shift)) and np.linalg.norm(vector) < r_max:
                found.add((i, j, *np.round(vector, 8) + 0.0))
    return found


@pytest.mark.parametrize("pbc", list(itertools.product([True, False], repeat=3)))
def test_equals_brute_force_in_a_small_skewed_cell(pbc: tuple[bool, bool, bool]) -> None:
    rng = np.random.default_rng(5)
    cell = np.array([[2.1, 0.0, 0.0], [1.2, 2.6, 0.0], [-0.7, 0.9, 3.0]])
    positions = np.array([[0.1, 0.2, 0.3], [1.4, 1.2, 1.1], [0.3, 1.9, 2.2]]) + rng.normal(0, 0.05, (3, 3))
    edges = find_edges(positions, cell, np.array(pbc), 3.5)
    pairs = zip(*edges.edge_index.tolist(), edges.edge_vectors, strict=True)
    found = {(i, j, *np.round(v, 8) + 0.0) for i, j, v in pairs}
    assert found == brute_force(positions, cell, list(pbc), 3.5)
    assert len(found) == edges.edge_index.shape[1] > 0
    i, j = edges.edge_index
    expected = positions[j] - positions[i] + edges.shifts @ cell
    np.testing.assert_allclose(edges.edge_vectors, expected, atol=1e-12)


def test_open_directions_need_no_lattice_vector() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    cell = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    edges = find_edges(positions, cell, np.array([True, False, False]), 1.5)
    assert edges.edge_index.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.diag([3.0, 0.0, 3.0]), "direction 1 is periodic but its lattice vector is zero"),
        (np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]), "has no volume"),
        (np.diag([3.0, np.nan, 3.0]), "not finite"),
    ],
)
def test_bad_cells_are_refused(cell: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_edges(np.zeros((1, 3)), cell, np.array([True] * 3), 2.0)


def test_no_atoms_no_edges() -> None:
    assert find_edges(np.zeros((0, 3)), np.eye(3), np.zeros(3, bool), 2.0).edge_index.shape == (2, 0)
