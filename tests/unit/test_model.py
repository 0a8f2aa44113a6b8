"""The model's own pieces against e3nn and against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from e3nn import o3

from mollifield_train.model import ARCHITECTURES, DEFAULT_KIND
from mollifield_train.model.backends import choose_backend
from mollifield_train.model.convolution import ConvolutionE3nn
from mollifield_train.model.irreps import tensor_product_paths
from mollifield_train.model.linear import EquivariantLinear
from mollifield_train.model.radial import BesselBasis, polynomial_envelope
from mollifield_train.model.repulsion import INSIDE, ZBLRepulsion
from mollifield_train.model.samples import initialise, member_state
from mollifield_train.training.members import pack, unpack

from ..conftest import build_potential

DOUBLE = torch.float64


def component_major(x: torch.Tensor, channels: int, l_max: int) -> torch.Tensor:
    """e3nn's [N, sum_l C(2l+1)] -> [1, N, (l_max+1)^2, C]."""
    blocks, start = [], 0
    for l in range(l_max + 1):
        width = channels * (2 * l + 1)
        block = x[:, start : start + width].reshape(len(x), channels, 2 * l + 1)
        blocks.append(block.transpose(1, 2))
        start += width
    return torch.cat(blocks, dim=1)[None]


def test_paths_have_natural_parity_and_are_complete() -> None:
    assert [tuple(p) for p in tensor_product_paths(0, 2, 2)] == [(0, 0, 0), (0, 1, 1), (0, 2, 2)]
    assert len(tensor_product_paths(2, 2, 2)) == 11
    assert len(tensor_product_paths(3, 3, 3)) == 23


def test_linear_equals_e3nn() -> None:
    torch.manual_seed(0)
    channels, l_max = 3, 2
    irreps = o3.Irreps([(channels, (l, (-1) ** l)) for l in range(l_max + 1)])
    reference = o3.Linear(irreps, irreps).to(DOUBLE)
    ours = EquivariantLinear(1, [1] * (l_max + 1), channels, channels, DOUBLE)
    with torch.no_grad():
        ours.weight[0] = reference.weight
    x = irreps.randn(5, -1, dtype=DOUBLE)
    expected = component_major(reference(x), channels, l_max)
    found = ours(component_major(x, channels, l_max)).view(1, 5, -1, channels)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_convolution_is_the_sum_over_neighbours_of_wigner_products() -> None:
    """Against the definition, with Wigner 3j symbols and explicit loops."""
    torch.manual_seed(1)
    l_in, l_edge, l_out, channels = 1, 2, 2, 2
    paths = tensor_product_paths(l_in, l_edge, l_out)
    default = torch.get_default_dtype()
    torch.set_default_dtype(DOUBLE)
    convolution = ConvolutionE3nn(tensor_product_paths(l_in, l_edge, l_out), channels)
    torch.set_default_dtype(default)
    edge_index = torch.tensor([[0, 0, 2, 1], [1, 2, 0, 1]])
    x = torch.randn(1, 3, (l_in + 1) ** 2, channels, dtype=DOUBLE)
    y = torch.randn(1, 4, (l_edge + 1) ** 2, dtype=DOUBLE)
    w = torch.randn(1, 4, len(paths) * channels, dtype=DOUBLE)
    found = convolution(x, y, w, edge_index, x.shape[1])
    row = 0
    for l in range(l_out + 1):
        same = [k for k, p in enumerate(paths) if p.l_3 == l]
        for rank, k in enumerate(same):
            l_1, l_2, _ = paths[k]
            symbol = o3.wigner_3j(l_1, l_2, l, dtype=DOUBLE) * np.sqrt(2 * l + 1)
            expected = torch.zeros(3, 2 * l + 1, channels, dtype=DOUBLE)
            for e, (i, j) in enumerate(edge_index.T.tolist()):
                coupled = torch.einsum(
                    "abm,ac,b->mc", symbol, x[0, j, l_1**2 : (l_1 + 1) ** 2], y[0, e, l_2**2 : (l_2 + 1) ** 2]
                )
                expected[i] += coupled * w[0, e, k * channels : (k + 1) * channels]
            for m in range(2 * l + 1):
                ours = found[0, :, row + m * len(same) + rank]
                torch.testing.assert_close(ours, expected[:, m], atol=1e-12, rtol=0)
        row += (2 * l + 1) * len(same)
    assert row == found.shape[2]


def test_envelope_and_basis_vanish_smoothly_at_the_cutoff() -> None:
    x = torch.tensor([1.0 - 1e-4, 1.0, 1.2], dtype=DOUBLE, requires_grad=True)
    u = polynomial_envelope(x)
    (slope,) = torch.autograd.grad(u.sum(), x)
    assert 0 < u[0] < 1e-10
    assert float(slope[0]) == pytest.approx(-168e-8, rel=1e-3)  # -p(p+1)(p+2)/2 (1-x)^2, p = 6
    assert (u[1:] == 0).all()
    basis = BesselBasis(5, 4.0, DOUBLE)(torch.tensor([[3.0, 4.0, 7.0]], dtype=DOUBLE))
    assert basis[0, 0].abs().max() > 1e-3
    assert (basis[0, 1:] == 0).all()


def test_repulsion_is_the_screened_coulomb_energy() -> None:
    """Far inside the cutoff envelope, half of Z1 Z2 e^2/r phi(r/a) for each of the two atoms."""
    r = 0.05
    zbl = ZBLRepulsion([6, 8], 4.0, DOUBLE)
    energy = zbl(torch.full((1, 2), r, dtype=DOUBLE), torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 1]), 2)
    a = 0.8854 * 0.529177210544 / (6**0.23 + 8**0.23)
    phi = sum(
        c * np.exp(-d * r / a)
        for c, d in ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
    )
    assert float(energy.sum()) == pytest.approx(14.399645 * 48 / r * phi, rel=1e-6)


def test_repulsion_begins_inside_of_what_was_trained_on() -> None:
    """At `INSIDE` times the shortest distance in the frames, where that is less than the sum of the covalent radii."""
    shortest = ((2.0, 1.2), (1.2, 9.0))
    zbl = ZBLRepulsion([6, 8], 5.0, DOUBLE, shortest)
    types, pair = torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]])

    def energy(r: float, first: int, second: int) -> float:
        return float(zbl(torch.full((1, 2), r, dtype=DOUBLE), pair, types[[first, second]], 2).sum())

    assert energy(INSIDE * 1.2, 0, 1) == 0.0
    assert energy(INSIDE * 1.2 - 0.05, 0, 1) > 0.0
    assert energy(1.33, 1, 1) == 0.0  # two radii of oxygen are 1.32
    assert energy(1.2, 1, 1) > 0.0
    distances = np.linspace(0.2, INSIDE * 1.2, 50)
    assert (np.diff([energy(r, 0, 1) for r in distances]) < 0.0).all()


def test_a_member_depends_on_its_own_seed_only() -> None:
    committee = build_potential(torch.float32, n_members=3)
    single = build_potential(torch.float32, n_members=1)
    initialise(committee, 20)
    initialise(single, 22)
    for (name, ours), (_, theirs) in zip(committee.named_parameters(), single.named_parameters(), strict=True):
        torch.testing.assert_close(ours[2], theirs[0], atol=0, rtol=0, msg=name)


def test_building_a_model_leaves_the_default_dtype_alone() -> None:
    before = torch.get_default_dtype()
    build_potential(torch.float64)
    assert torch.get_default_dtype() == before


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend 'fast': allowed are auto, e3nn, native"):
        choose_backend("fast")


def test_a_line_of_the_table_has_the_name_of_its_kind() -> None:
    assert {name: kind.section().kind for name, kind in ARCHITECTURES.items()} == {name: name for name in ARCHITECTURES}
    assert DEFAULT_KIND in ARCHITECTURES


def test_an_architecture_has_a_shift_for_each_species() -> None:
    with pytest.raises(ValueError, match="2 atomic shifts for 3 species"):
        replace(build_potential(torch.float32).architecture, atomic_shifts=(0.0, 1.0))


def test_weights_without_a_kind_are_equivariant() -> None:
    """As they were packed before there was a choice."""
    potential = build_potential(torch.float32, correlation=2)
    packed = pack(potential)
    assert packed["settings"].pop("kind") == "equivariant"
    found = unpack(packed)
    assert found.architecture.of_the_network() == potential.architecture.of_the_network()
    for name, tensor in member_state(potential).items():
        assert torch.equal(member_state(found)[name], tensor), name
    packed["settings"]["kind"] = "older"
    with pytest.raises(
        ValueError, match="weights of architecture 'older', which isn't known here; known are equivariant"
    ):
        unpack(packed)
