"""The native operators on edges against e3nn: values, first and second derivatives; backends of a whole model."""

import pytest
import torch

from mollifield import has_native
from mollifield_train.model.convolution import ConvolutionE3nn, ConvolutionNative
from mollifield_train.model.coupling import coupling_table
from mollifield_train.model.geometry import GeometryE3nn
from mollifield_train.model.irreps import tensor_product_paths
from mollifield_train.model.linear import GateNative
from mollifield_train.model.messages import RadialMessages, SplineMessages
from mollifield_train.model.radial import BesselBasis, RadialNetwork
from mollifield_train.model.samples import load_member_state, member_state

from ..conftest import build_potential, eager_engine, ethanol, sheared_crystal

assert has_native(), "libmollifield.so must be built for the tests"
DOUBLE = torch.float64
# A relative 1e-12 of the largest entry in float64 and 1e-6 in float32: sums of a few hundred terms
# in another order.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
N_ATOMS, N_CENTRES = 6, 5  # the last atom only sends
CASES = [(0, 3, 3), (3, 3, 0), (3, 3, 3), (1, 2, 3), (2, 1, 2)]


def operands(
    l_in: int,
    l_edge: int,
    l_out: int,
    members: int,
    geometries: int,
    channels: int,
    dtype: torch.dtype,
    sort: bool = True,
) -> tuple:
    generator = torch.Generator().manual_seed(1)
    n_edges = 19
    n_weights = len(tensor_product_paths(l_in, l_edge, l_out)) * channels

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=DOUBLE).to(dtype).requires_grad_()

    edge_index = torch.stack(
        [
            torch.randint(0, N_CENTRES - 1, (n_edges,), generator=generator),  # one lonely centre
            torch.randint(0, N_ATOMS, (n_edges,), generator=generator),
        ]
    )
    if sort:
        edge_index[0] = edge_index[0].sort()[0]
    return (
        random(members, N_ATOMS, (l_in + 1) ** 2, channels),
        random(geometries, n_edges, (l_edge + 1) ** 2),
        random(members, n_edges, n_weights),
        edge_index,
    )


def reference(l_in: int, l_edge: int, l_out: int, channels: int, dtype: torch.dtype) -> ConvolutionE3nn:
    torch.set_default_dtype(dtype)
    try:
        return ConvolutionE3nn(tensor_product_paths(l_in, l_edge, l_out), channels)
    finally:
        torch.set_default_dtype(torch.float32)


def native(l_in: int, l_edge: int, l_out: int):
    terms, coefficients = coupling_table(tensor_product_paths(l_in, l_edge, l_out))
    return lambda *a: torch.ops.mollifield.convolution(*a, terms, coefficients)


def three_orders(function, x, y, w, edge_index, n_centres=N_CENTRES) -> list[torch.Tensor]:
    """Value, gradients, and gradients of a function of the gradients."""
    out = function(x, y, w, edge_index, n_centres)
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out).requires_grad_()
    first = torch.autograd.grad((out * cotangent).sum(), (x, y, w), create_graph=True)
    scalar = sum((g * torch.cos(g)).sum() for g in first)
    return [out, *first, *torch.autograd.grad(scalar, (x, y, w, cotangent))]


def three_orders_of(function, *inputs: torch.Tensor) -> list[torch.Tensor]:
    out = function(*inputs)
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).view_as(out).requires_grad_()
    first = torch.autograd.grad((out * cotangent).sum(), inputs, create_graph=True)
    scalar = sum((g * torch.cos(g)).sum() for g in first)
    return [out, *first, *torch.autograd.grad(scalar, (*inputs, cotangent))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("members_geometries", [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("degrees", CASES)
def test_convolution_equals_e3nn(degrees, members_geometries, dtype) -> None:
    args = operands(*degrees, *members_geometries, 5, dtype)
    found = three_orders(native(*degrees), *args)
    expected = three_orders(reference(*degrees, 5, dtype), *args)
    for order, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        scale = float(theirs.detach().abs().max())
        limit = TOLERANCE[dtype] * (1 if order < 4 else 10) * scale
        torch.testing.assert_close(ours, theirs, atol=limit, rtol=0)


@pytest.mark.parametrize("geometries", [1, 2])
@pytest.mark.parametrize("by", [(0, 1, 2), (1, 2), (1,)])
def test_double_backward_in_one_pass_equals_the_sum_of_its_terms(by, geometries: int) -> None:
    """A graph is asked for in the second: it may be differentiated again."""
    *inputs, edge_index = operands(2, 2, 2, 2, geometries, 11, DOUBLE)
    out = native(2, 2, 2)(*inputs, edge_index, N_CENTRES)
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=DOUBLE).view_as(out).requires_grad_()
    wanted = [inputs[k] for k in by]
    first = torch.autograd.grad(out, wanted, cotangent, create_graph=True)
    scalar = sum((g * torch.cos(g)).sum() for g in first)
    arguments = {"inputs": (*inputs, cotangent), "allow_unused": True}
    fused = torch.autograd.grad(scalar, **arguments, retain_graph=True)
    summed = torch.autograd.grad(scalar, **arguments, create_graph=True)
    assert not any(g.requires_grad for g in fused if g is not None)
    for ours, theirs in zip(fused, summed, strict=True):
        if theirs is None:
            assert ours is None or float(ours.abs().max()) == 0.0
            continue
        assert theirs.requires_grad
        torch.testing.assert_close(ours, theirs, atol=1e-12 * float(theirs.detach().abs().max()), rtol=0)


@pytest.mark.parametrize("channels", [1, 8, 9, 32, 45])
def test_every_channel_count(channels: int) -> None:
    """Whole blocks of vectors, single vectors and a scalar tail."""
    args = operands(2, 2, 2, 2, 1, channels, DOUBLE)
    for ours, theirs in zip(
        three_orders(native(2, 2, 2), *args), three_orders(reference(2, 2, 2, channels, DOUBLE), *args), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11 * float(theirs.detach().abs().max()), rtol=0)


def test_edges_in_any_order() -> None:
    x, y, w, edge_index = operands(1, 1, 1, 2, 2, 4, DOUBLE, sort=False)
    for ours, theirs in zip(
        three_orders(native(1, 1, 1), x, y, w, edge_index),
        three_orders(reference(1, 1, 1, 4, DOUBLE), x, y, w, edge_index),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11 * float(theirs.detach().abs().max()), rtol=0)


@pytest.mark.parametrize("geometries", [1, 2])
def test_gradgradcheck(geometries: int) -> None:
    x, y, w, edge_index = operands(1, 1, 1, 2, geometries, 2, DOUBLE)
    function = lambda *a: native(1, 1, 1)(*a, edge_index, N_CENTRES)  # noqa: E731
    assert torch.autograd.gradcheck(function, (x, y, w))
    assert torch.autograd.gradgradcheck(function, (x, y, w))


@pytest.mark.parametrize("l_max", [0, 1, 2, 3])
def test_geometry_equals_e3nn(l_max: int) -> None:
    vectors = torch.randn(2, 7, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    vectors.requires_grad_()
    harmonics, lengths = torch.ops.mollifield.edge_geometry(vectors, l_max)
    expected, norms = GeometryE3nn(l_max)(vectors)
    torch.testing.assert_close(harmonics, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(lengths, norms, atol=1e-12, rtol=0)
    function = lambda v: torch.ops.mollifield.edge_geometry(v, l_max)  # noqa: E731
    assert torch.autograd.gradcheck(function, (vectors,))
    assert torch.autograd.gradgradcheck(function, (vectors,))


def test_wrong_shapes_are_named() -> None:
    x, y, w, edge_index = operands(1, 1, 1, 1, 1, 2, DOUBLE)
    function = native(1, 1, 1)
    for bad, message in (
        ((x[:, :, :3], y, w, edge_index), "features: found"),
        ((x, y[:, :, :3], w, edge_index), "harmonics: found"),
        ((x, y, w[..., :-1], edge_index), "weights: found"),
        ((x, y.float(), w, edge_index), "share one dtype"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            function(*bad, N_CENTRES)
    for end, count in ((0, N_CENTRES), (1, N_ATOMS)):
        outside = edge_index.clone()
        outside[end, 4] = count
        with pytest.raises(IndexError, match=f"edge 4 names atom {count} of {count}"):
            function(x, y, w, outside, N_CENTRES)
    with pytest.raises(ValueError, match="n_centres: found 7; allowed is 0 to 6"):
        function(x, y, w, edge_index, N_ATOMS + 1)


def interpolated(spline: SplineMessages, lengths: torch.Tensor) -> torch.Tensor:
    """Weights `[M, E, P*C]` of edges: messages of ones through a coupling of scalars, each to an atom of its own."""
    members, _, _, n_weights = spline.knots.shape
    n_edges = lengths.shape[1]
    ones, loops = torch.ones(members, n_edges, 1, n_weights, dtype=DOUBLE), torch.arange(n_edges).expand(2, -1)
    harmonics = torch.ones(1, n_edges, 1, dtype=DOUBLE)
    scalars = torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, dtype=DOUBLE)
    arguments = (harmonics, lengths, spline.knots, spline.r_max, loops, n_edges, *scalars)
    return torch.ops.mollifield.spline_convolution(ones, *arguments).squeeze(2)


def test_splines_follow_the_radial_network() -> None:
    """Values to 1e-7 and slopes to 1e-5 of their size with 1024 knots, in and out of the kernel."""
    members, channels, r_max = 2, 3, 4.0
    basis = BesselBasis(6, r_max, DOUBLE)
    torch.set_default_dtype(DOUBLE)
    convolution = ConvolutionNative(tensor_product_paths(1, 2, 2), channels)
    torch.set_default_dtype(torch.float32)
    radial = RadialNetwork(members, 6, [16], len(convolution.paths) * channels, DOUBLE, GateNative(0, 16))
    for weight in radial.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(9))
    exact = RadialMessages(radial, convolution, basis)
    spline = SplineMessages(exact, basis, 1024)
    x, y, _, edge_index = operands(1, 2, 2, members, 1, channels, DOUBLE)
    lengths = torch.linspace(0.4, 4.3, 19, dtype=DOUBLE).view(1, -1).requires_grad_()

    def all_of(messages) -> list[torch.Tensor]:
        out = messages(x, y, lengths, basis(lengths), edge_index, N_CENTRES)
        cotangent = torch.linspace(-1, 1, out.numel(), dtype=DOUBLE).view_as(out)
        return [out, *torch.autograd.grad(out, (x, y, lengths), cotangent)]

    for k, (ours, theirs) in enumerate(zip(all_of(spline), all_of(exact), strict=True)):
        limit = (1e-5 if k == 3 else 1e-7) * float(theirs.detach().abs().max())
        torch.testing.assert_close(ours, theirs, atol=limit, rtol=0)
    weights = interpolated(spline, lengths)
    torch.testing.assert_close(weights, radial(basis(lengths)), atol=1e-7 * float(weights.detach().abs().max()), rtol=0)
    assert (weights[:, lengths[0] >= r_max] == 0).all()


@pytest.mark.parametrize("settings", [{"correlation": 2}, {"correlation": 3}], ids=str)
def test_what_is_run_has_no_second_derivative(settings: dict[str, object]) -> None:
    """Of splines, nor of updates in one operator where the messages are."""
    model = build_potential(torch.float64, backend="native", **settings).tabulated(128)
    vectors = torch.randn(3, 4, 3, dtype=DOUBLE).requires_grad_()
    edge_index, types = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]]), torch.tensor([0, 1])
    energies = model(vectors, edge_index, types)["atomic_energies"]
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        torch.autograd.grad(energies.sum(), vectors, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "settings",
    [
        {"correlation": 1},
        {"correlation": 2},
        {"correlation": 3},
        {"correlation": 2, "messages": "scattered"},
        {"correlation": 3, "messages": "scattered"},
        {"correlation": 3, "messages": "scattered", "rms_norm": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("l_max", [1, 3])
def test_backends_give_one_model(dtype: torch.dtype, l_max: int, settings: dict[str, object]) -> None:
    models = {}
    for backend in ("e3nn", "native"):
        models[backend] = build_potential(dtype, backend=backend, l_max=l_max, n_layers=3, **settings)
    load_member_state(models["native"], member_state(models["e3nn"]))
    for frame in (sheared_crystal(), ethanol()):
        ours, theirs = (eager_engine(models[name])(frame) for name in ("native", "e3nn"))
        limit = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
        assert abs(ours.atomic_energies - theirs.atomic_energies).max() < limit * abs(theirs.atomic_energies).max()
        assert abs(ours.forces - theirs.forces).max() < 10 * limit * abs(theirs.forces).max()
