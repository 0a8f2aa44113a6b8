"""The native operators against e3nn: values, first and second derivatives."""

import pytest
import torch
from e3nn import o3

from mollifield import has_native
from mollifield_train.model.convolution import ConvolutionE3nn, ConvolutionNative
from mollifield_train.model.coupling import coupling_table
from mollifield_train.model.geometry import GeometryE3nn
from mollifield_train.model.irreps import tensor_product_paths
from mollifield_train.model.linear import EquivariantLinear, Gate, GateNative, LinearNative
from mollifield_train.model.messages import RadialMessages, SplineMessages
from mollifield_train.model.product import FusedUpdate
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
    exact = RadialMessages(radial, convolution)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("correlation", [2, 3])
@pytest.mark.parametrize("n_atoms", [1, 53])  # more than are taken at a time, and a part
@pytest.mark.parametrize("rms_norm", [False, True])
def test_fused_update_equals_its_parts(
    rms_norm: bool, n_atoms: int, correlation: int, channels: int, dtype: torch.dtype
) -> None:
    """Of the layers of a model: those that go on to all degrees, and the last, which needs scalars alone."""
    settings = {"n_channels": channels, "correlation": correlation, "rms_norm": rms_norm}
    model = build_potential(dtype, backend="native", n_layers=2, **settings)
    generator = torch.Generator().manual_seed(3)
    for layer in model.layers:
        n_rows = sum(layer.update.mix.rows)
        shapes = (model.n_members, n_atoms, n_rows, channels), (model.n_members, n_atoms, layer.n_gate_inputs)
        inputs = [torch.randn(shape, generator=generator, dtype=DOUBLE).to(dtype).requires_grad_() for shape in shapes]

        def orders(update, inputs=inputs) -> list[torch.Tensor]:
            out = update(*inputs)
            cotangent = torch.linspace(-1, 1, out.numel(), dtype=dtype).view_as(out)
            return [out, *torch.autograd.grad(out, inputs, cotangent)]

        for ours, theirs in zip(orders(FusedUpdate(layer.update)), orders(layer.update), strict=True):
            limit = 3 * TOLERANCE[dtype] * float(theirs.detach().abs().max())
            torch.testing.assert_close(ours, theirs, atol=limit, rtol=0)


def test_fused_update_names_what_does_not_fit() -> None:
    update = FusedUpdate(build_potential(DOUBLE, 1, backend="native", n_channels=4, correlation=3).layers[0].update)
    n_rows, n_inputs = sum(update.mix.rows), update.n_scalars + 8 * 4
    messages, kept = torch.ones(1, 2, n_rows, 4, dtype=DOUBLE), torch.ones(1, 2, n_inputs, dtype=DOUBLE)
    for arguments, message in (
        ((messages[:, :, 1:], kept), "messages: found"),
        ((messages, kept[:, 1:]), "kept: found"),
        ((messages.float(), kept), "share one dtype"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            update(*arguments)
    update.square_paths[1] += 1
    with pytest.raises(ValueError, match="square: found a product of 9 and 9 components"):
        update(messages, kept)


def product_reference(l_max: int, l_out: int, channels: int):
    """e3nn's `TensorProduct` without weights (mode `uuu`) on component-major features."""
    paths = tensor_product_paths(l_max, l_max, l_out)
    irreps = o3.Irreps([(channels, (l, (-1) ** l)) for l in range(l_max + 1)])
    out = o3.Irreps([(channels, (p.l_3, (-1) ** p.l_3)) for p in paths])
    instructions = [(p.l_1, p.l_2, k, "uuu", False) for k, p in enumerate(paths)]
    torch.set_default_dtype(DOUBLE)
    product = o3.TensorProduct(irreps, irreps, out, instructions, path_normalization="none")
    torch.set_default_dtype(torch.float32)

    def e3nn_layout(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :, l * l : (l + 1) ** 2].transpose(2, 3).flatten(2) for l in range(l_max + 1)], dim=2)

    def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        flat, rows, start = product(e3nn_layout(a), e3nn_layout(b)), [], 0
        for l in range(l_out + 1):
            same = [p for p in paths if p.l_3 == l]
            width = len(same) * channels * (2 * l + 1)
            block = flat[:, :, start : start + width].unflatten(2, (len(same), channels, 2 * l + 1))
            rows.append(block.permute(0, 1, 4, 2, 3).flatten(2, 3))
            start += width
        return torch.cat(rows, dim=2)

    return multiply


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize(("l_max", "l_out"), [(1, 1), (2, 0), (3, 3)])
def test_channel_product_equals_e3nn(l_max: int, l_out: int, channels: int) -> None:
    generator = torch.Generator().manual_seed(4)
    shape = (2, 5, (l_max + 1) ** 2, channels)
    a, b = (torch.randn(*shape, generator=generator, dtype=DOUBLE).requires_grad_() for _ in range(2))
    terms, coefficients = coupling_table(tensor_product_paths(l_max, l_max, l_out))

    def orders(function) -> list[torch.Tensor]:
        out = function(a, b)
        g = torch.linspace(-1, 1, out.numel(), dtype=DOUBLE).view_as(out).requires_grad_()
        first = torch.autograd.grad((out * g).sum(), (a, b), create_graph=True)
        return [out, *first, *torch.autograd.grad(sum(f.pow(3).sum() for f in first), (a, b, g))]

    native_product = orders(lambda a, b: torch.ops.mollifield.channel_product(a, b, terms, coefficients))
    for ours, theirs in zip(native_product, orders(product_reference(l_max, l_out, channels)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11 * float(theirs.detach().abs().max()), rtol=0)


def test_channel_product_gradgradcheck() -> None:
    terms, coefficients = coupling_table(tensor_product_paths(1, 1, 1))
    a, b = (torch.randn(1, 2, 4, 2, dtype=DOUBLE).requires_grad_() for _ in range(2))
    function = lambda a, b: torch.ops.mollifield.channel_product(a, b, terms, coefficients)  # noqa: E731
    assert torch.autograd.gradcheck(function, (a, b))
    assert torch.autograd.gradgradcheck(function, (a, b))
    # the same tensor twice, as a model squares its features
    assert torch.autograd.gradgradcheck(lambda a: function(a, a), (a,))


def three_orders_of(function, *inputs: torch.Tensor) -> list[torch.Tensor]:
    out = function(*inputs)
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).view_as(out).requires_grad_()
    first = torch.autograd.grad((out * cotangent).sum(), inputs, create_graph=True)
    scalar = sum((g * torch.cos(g)).sum() for g in first)
    return [out, *first, *torch.autograd.grad(scalar, (*inputs, cotangent))]


def same_three_orders(native, reference, inputs: list[torch.Tensor]) -> None:
    for ours, theirs in zip(three_orders_of(native, *inputs), three_orders_of(reference, *inputs), strict=True):
        # Second derivatives sum products of sums: a few units in the last place more.
        limit = 10 * TOLERANCE[ours.dtype] * max(1.0, float(theirs.detach().abs().max()))
        torch.testing.assert_close(ours, theirs, atol=limit, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 7, 8, 19, 32])
def test_linear_equals_torch(channels: int, dtype: torch.dtype) -> None:
    """Whole vectors and tails; any number of rows; features that are a part of wider ones."""
    n_paths, n_atoms = [2, 1, 3], 11
    reference = EquivariantLinear(2, n_paths, channels, channels, dtype, 3 * channels, 0.7)
    native = LinearNative(2, n_paths, channels, channels, dtype, 3 * channels, 0.7)
    generator = torch.Generator().manual_seed(5)
    n_rows = sum(reference.rows)
    wide = torch.randn(2, n_atoms, n_rows + 2, channels, generator=generator, dtype=dtype)
    weight = torch.randn(reference.weight.shape, generator=generator, dtype=dtype)

    def apply(module):
        def function(x, w):
            return torch.func.functional_call(module, {"weight": w}, (x.narrow(2, 0, n_rows),))

        return function

    same_three_orders(apply(native), apply(reference), [wide.requires_grad_(), weight.requires_grad_()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("l_max", "channels"), [(0, 5), (1, 8), (3, 19)])
def test_gate_equals_torch(l_max: int, channels: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(2, 4, ((l_max + 1) ** 2 + l_max) * channels, generator=generator, dtype=dtype)
    x.requires_grad_()
    same_three_orders(GateNative(l_max, channels), Gate(l_max, channels), [x])


def test_linear_and_gate_gradgradcheck() -> None:
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(2, 3, 4, 2, generator=generator, dtype=DOUBLE).requires_grad_()
    w = torch.randn(2, 4 * 2 + 4, generator=generator, dtype=DOUBLE).requires_grad_()
    linear = lambda *a: torch.ops.mollifield.linear(*a, [1, 1], 2, 4, 1.3)  # noqa: E731
    gate = lambda u: torch.ops.mollifield.gate(u, 1)  # noqa: E731
    assert torch.autograd.gradcheck(linear, (x, w))
    assert torch.autograd.gradgradcheck(linear, (x, w))
    u = torch.randn(2, 3, 5 * 2, generator=generator, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(gate, (u,))
    assert torch.autograd.gradgradcheck(gate, (u,))


def test_wrong_inputs_of_linear_and_gate_are_named() -> None:
    x, w = torch.zeros(1, 3, 4, 2), torch.zeros(1, 8)
    for arguments, message in (
        ((x[:, :, :3], w), "x: found"),
        ((x, w[:, :-1]), "weight: found"),
        ((x, w.double()), "share one dtype"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            torch.ops.mollifield.linear(*arguments, [1, 1], 2, 2, 1.0)
    with pytest.raises(ValueError, match="inputs: found"):
        torch.ops.mollifield.gate(torch.zeros(1, 3, 11), 1)
