"""The native operators that work atom by atom against e3nn and torch: products, linear maps, gates, fused updates."""

import pytest
import torch
from e3nn import o3

from mollifield_train.model.coupling import coupling_table
from mollifield_train.model.irreps import tensor_product_paths
from mollifield_train.model.linear import EquivariantLinear, Gate, GateNative, LinearNative
from mollifield_train.model.product import FusedUpdate

from ..conftest import build_potential
from .test_operators import DOUBLE, TOLERANCE, three_orders_of


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
