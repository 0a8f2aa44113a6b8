"""Training from a table of the radial networks: what it computes, and where."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mollifield import has_native
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.linear import Gate
from mollifield_train.model.messages import TabulatedMessages
from mollifield_train.model.radial import BesselBasis, RadialNetwork, basis_at_knots
from mollifield_train.training.run import train

from ..conftest import R_MAX, build_potential
from .fitting import history, labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)

assert has_native(), "libmollifield.so must be built for the tests"
DOUBLE = torch.float64
N_ATOMS = 60
MANY, FEW = TabulatedMessages.EDGES, TabulatedMessages.EDGES - 1


def test_knots_are_values_and_derivatives_of_the_network() -> None:
    """Those of reverse differentiation, to rounding; zero at the cutoff."""
    n_knots, members = 12, 2
    basis = BesselBasis(5, R_MAX, DOUBLE)
    radial = RadialNetwork(members, 5, [7, 6], 4, DOUBLE, Gate(0, 7))
    for weight in radial.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(3))
    knots = radial.knots(basis_at_knots(basis, n_knots)).detach()
    assert knots.shape == (members, n_knots, 2, 4)
    assert (knots[:, -1] == 0).all()
    spacing = R_MAX / (n_knots - 1)
    for k in range(1, n_knots - 1):
        jacobian = torch.autograd.functional.jacobian(
            lambda r: radial(basis(r)), torch.tensor([[k * spacing]], dtype=DOUBLE)
        )
        torch.testing.assert_close(knots[:, k, 1], spacing * jacobian[:, 0, :, 0, 0], atol=1e-12, rtol=1e-12)
        values = radial(basis(torch.tensor([[k * spacing]], dtype=DOUBLE)))[:, 0]
        torch.testing.assert_close(knots[:, k, 0], values, atol=1e-12, rtol=1e-12)


def learnt(model: EquivariantPotential, n_edges: int) -> list[Tensor]:
    """Energies, their gradient by the edges, and the gradient of both by all weights, as of a training step."""
    generator = torch.Generator().manual_seed(5)
    directions = torch.nn.functional.normalize(torch.randn(n_edges, 3, generator=generator, dtype=DOUBLE), dim=1)
    lengths = torch.linspace(1.0, 1.02 * R_MAX, n_edges, dtype=DOUBLE).unsqueeze(1)  # the last ones are too long
    vectors = (directions * lengths)[None].to(model.dtype).requires_grad_()
    edge_index = torch.stack([torch.arange(n_edges) % N_ATOMS, torch.arange(n_edges) * 7 % N_ATOMS])
    energies = model(vectors, edge_index, torch.arange(N_ATOMS) % 2)["atomic_energies"]
    (forces,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
    loss = energies.square().sum() + forces.square().sum()
    return [energies, forces, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)]


@pytest.mark.parametrize("settings", [{}, {"messages": "scattered", "correlation": 2}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_from_the_table_is_that_of_the_network(dtype: torch.dtype, settings: dict[str, object]) -> None:
    """Energies to 1e-6, forces and gradients by weights to 1e-4 of the largest, for members with unlike tables."""
    model = build_potential(dtype, n_members=2, backend="native", **settings)
    tabulated, exact = learnt(model.train(), MANY), learnt(model.eval(), MANY)
    assert not torch.equal(tabulated[1], exact[1])
    for order, (ours, theirs) in enumerate(zip(tabulated, exact, strict=True)):
        if theirs is None:
            assert ours is None
            continue
        limit = (1e-6 if order == 0 else 1e-4) * float(theirs.detach().abs().max())
        torch.testing.assert_close(ours, theirs, atol=limit, rtol=0)


def test_few_edges_take_the_network() -> None:
    model = build_potential(DOUBLE, n_members=2, backend="native")
    for ours, theirs in zip(learnt(model.train(), FEW), learnt(model.eval(), FEW), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("knots", "lengths", "r_max", "message"),
    [
        ((1, 1, 2, 3), (1, 4), 2.0, "knots: found .* with K > 1"),
        ((2, 5, 2, 3), (3, 4), 2.0, r"lengths: found .*; allowed is \[1, E\] or \[2, E\]"),
        ((1, 5, 2, 3), (1, 4), 0.0, "r_max: found 0; allowed is a length"),
    ],
)
def test_wrong_tables_are_named(knots: tuple, lengths: tuple, r_max: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torch.ops.mollifield.interpolation(torch.ones(knots), torch.ones(lengths), r_max)
    with pytest.raises((ValueError, TypeError), match="share one dtype"):
        torch.ops.mollifield.interpolation(torch.ones(1, 5, 2, 3), torch.ones(1, 4, dtype=DOUBLE), 2.0)


def test_tables_have_no_third_derivative() -> None:
    knots = torch.randn(1, 5, 2, 3, dtype=DOUBLE).requires_grad_()
    lengths = torch.rand(1, 4, dtype=DOUBLE).requires_grad_()
    rows = torch.ops.mollifield.interpolation(knots, lengths, 2.0)
    (first,) = torch.autograd.grad(rows.sum(), lengths, create_graph=True)
    with pytest.raises(NotImplementedError, match="two derivatives, not three"):
        torch.autograd.grad(first.sum(), knots, create_graph=True)


@pytest.mark.usefixtures("no_export")
def test_a_fit_trains_from_tables_and_measures_with_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One table a layer and step, in later epochs too, and an ordinary model at the end."""
    tables: list[bool] = []
    of_knots = RadialNetwork.knots

    def counted(radial: RadialNetwork, basis: Tensor) -> Tensor:
        tables.append(True)
        return of_knots(radial, basis)

    monkeypatch.setattr(TabulatedMessages, "EDGES", 1)
    monkeypatch.setattr(RadialNetwork, "knots", counted)
    n_layers, epochs = 2, 3
    config = tiny_config(
        tmp_path, labelled_water(8), model={"n_layers": n_layers, "backend": "native"}, optimiser={"epochs": epochs}
    )
    result = train(config, progress=False)
    steps = int(history(result.directory)[-1]["step"])
    assert steps == epochs * 2 and result.metrics["n_valid"] == 1  # seven frames in batches of four
    assert len(tables) == n_layers * steps
    assert not result.model.training


def test_models_are_made_to_be_evaluated() -> None:
    assert not any(module.training for module in build_potential(DOUBLE, backend="native").modules())
