"""What the simplest members of the family can tell apart, as the docstring of `correlation` says."""

import math

import pytest
import torch

from ..conftest import build_potential

STEP = math.pi / 4.0
RADIUS = 1.7
"""Å."""
APART = 1e-3
"""eV: far above rounding, and below what is seen."""

SQUARE = (0, 2, 4, 6)
HOMOMETRIC = ((0, 1, 3, 4), (0, 1, 2, 5))
"""Not congruent, with the same angles between pairs: the density of both has the same power spectrum about the centre
(Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020))."""


def energy_of_centre(places: tuple[int, ...], settings: dict[str, object]) -> float:
    """eV, of an atom with neighbours at one distance and at multiples of 45 degrees, through edges of its own alone."""
    angles = STEP * torch.tensor(places, dtype=torch.float64)
    vectors = RADIUS * torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], dim=1)
    edges = torch.stack([torch.zeros(len(places), dtype=torch.int64), torch.arange(1, len(places) + 1)])
    types = torch.tensor([0] + [1] * len(places))
    potential = build_potential(torch.float64, 1, n_layers=1, **settings)
    return float(potential(vectors[None], edges, types)["atomic_energies"][0, 0].detach())


@pytest.mark.parametrize(
    ("settings", "sees_angles", "sees_triples"),
    [
        ({"l_max": 0, "messages": "scattered", "correlation": 1}, False, False),
        ({"l_max": 0, "messages": "scattered", "correlation": 3}, False, False),
        ({"l_max": 2, "messages": "coupled", "correlation": 1}, False, False),
        ({"l_max": 2, "messages": "scattered", "correlation": 2}, True, False),
        ({"l_max": 2, "messages": "scattered", "correlation": 3}, True, True),
    ],
    ids=["radial", "radial-products", "radial-coupled", "power-spectrum", "triples"],
)
def test_a_single_layer_sees_so_many_neighbours_at_once(
    settings: dict[str, object], sees_angles: bool, sees_triples: bool
) -> None:
    """Radial symmetry functions see distances, the power spectrum angles as well, and only triples all of it."""
    first, second = (energy_of_centre(places, settings) for places in HOMOMETRIC)
    square = energy_of_centre(SQUARE, settings)
    assert (abs(first - square) > APART) == sees_angles
    assert (abs(first - second) > APART) == sees_triples
    for other, seen in ((square, sees_angles), (second, sees_triples)):
        if not seen:
            assert other == pytest.approx(first, rel=1e-12)
