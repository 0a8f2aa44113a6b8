"""The same operators under every instruction set that this processor has."""

import io
import os
import subprocess
import sys
from functools import cache

import pytest
import torch

from mollifield import has_native
from mollifield_train.model.coupling import coupling_table
from mollifield_train.model.geometry import GeometryE3nn
from mollifield_train.model.irreps import Path, scattered_paths, tensor_product_paths
from mollifield_train.model.linear import EquivariantLinear, Gate, GateNative, LinearNative

from .test_operators import three_orders, three_orders_of

assert has_native(), "libmollifield.so must be built for the tests"
SETS = torch.ops.mollifield.instruction_sets()
WIDTHS = (*range(1, 34), 47, 63, 64, 65, 80)
# Relative to the largest entry. The cosines of `three_orders` amplify the rounding of first derivatives.
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}
PATHS = tuple(tensor_product_paths(1, 1, 1))
PLAIN = tuple(scattered_paths(3, 3, 3))  # couple nothing, and have kernels of their own
N_ATOMS, N_EDGES = 3, 7
N_PLAIN_EDGES = 40  # most of them at one atom: more than these kernels take at once, and many to one neighbour


@cache
def table(paths: tuple[Path, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    return coupling_table(list(paths))


@cache
def coupling(paths: tuple[Path, ...], dtype: torch.dtype) -> torch.Tensor:
    """Dense Clebsch-Gordan coefficients [K, P, n_in, n_edge]."""
    terms, coefficients = table(paths)
    dense = torch.zeros(*(terms.amax(dim=0) + 1).tolist(), dtype=dtype)
    dense[tuple(terms.T)] = coefficients.to(dtype)
    return dense


def with_einsum(paths):
    def convolve(x, y, w, edge_index, n_centres):
        weights = w.unflatten(2, (len(paths), x.shape[3]))
        dense, edges = coupling(paths, x.dtype), y.expand(len(x), -1, -1)
        sent = torch.einsum("meac,mepc->mepac", x[:, edge_index[1]], weights)
        messages = torch.einsum("kpab,mepac,meb->mekc", dense, sent, edges)
        return x.new_zeros(len(x), n_centres, *messages.shape[2:]).index_add(1, edge_index[0], messages)

    return convolve


def convolution(paths):
    terms, coefficients = table(paths)
    return lambda *a: torch.ops.mollifield.convolution(*a, terms, coefficients)


def product(a, b):
    return torch.ops.mollifield.channel_product(a, b, *table(PATHS))


def product_with_einsum(a, b):
    return torch.einsum("kpab,mnac,mnbc->mnkc", coupling(PATHS, a.dtype), a, b)


def spline(paths):
    terms, coefficients = table(paths)

    def convolve(x, y, lengths, knots, edge_index):
        return torch.ops.mollifield.spline_convolution(
            x, y, lengths, knots, 2.0, edge_index, N_ATOMS, terms, coefficients
        )

    return convolve


def spline_with_einsum(paths):
    convolve = with_einsum(paths)
    return lambda x, y, lengths, knots, edges: convolve(x, y, hermite(knots, lengths), edges, N_ATOMS)


def hermite(knots, lengths):
    """Hermite's cubic between knots 2 / (n - 1) apart."""
    position = lengths[0] * (knots.shape[1] - 1) / 2.0
    k = position.detach().long()
    t = (position - k).unsqueeze(1)
    value, slope, next_value, next_slope = knots[0, k, 0], knots[0, k, 1], knots[0, k + 1, 0], knots[0, k + 1, 1]
    rows = ((1 + 2 * t) * value + t * slope) * (1 - t) ** 2 + t**2 * ((3 - 2 * t) * next_value - (1 - t) * next_slope)
    return rows.unsqueeze(0)


def interpolation(knots, lengths):
    return torch.ops.mollifield.interpolation(knots, lengths, 2.0)


def geometry(vectors):
    harmonics, lengths = torch.ops.mollifield.edge_geometry(vectors, 3)
    return torch.cat([harmonics, lengths.unsqueeze(2)], dim=2)


def geometry_with_e3nn(vectors):
    harmonics, lengths = GeometryE3nn(3)(vectors)
    return torch.cat([harmonics, lengths.unsqueeze(2)], dim=2)


def first_order(function, x, y, lengths, *rest) -> list[torch.Tensor]:
    out = function(x, y, lengths, *rest)
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad(out, (x, y, lengths), cotangent)]


def both(n_channels: int, dtype: torch.dtype) -> dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Name of an operator -> its values and derivatives, and those of its reference in float64."""
    generator = torch.Generator().manual_seed(n_channels)

    def random(*shape: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        ours = (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)
        return ours.requires_grad_(), ours.detach().double().requires_grad_()

    cases = {}
    for name, paths, n_edges in (("", PATHS, N_EDGES), ("plain ", PLAIN, N_PLAIN_EDGES)):
        index = torch.randint(0, N_ATOMS, (2, n_edges), generator=generator)
        index[0, N_EDGES:] = 0
        n_components = coupling(paths, dtype).shape[2]
        x, y = random(1, N_ATOMS, n_components, n_channels), random(1, n_edges, n_components)
        w = random(1, n_edges, len(paths) * n_channels, scale=N_EDGES / n_edges)
        knots = random(1, 6, 2, len(paths) * n_channels)
        spread = torch.linspace(0.1, 1.9, n_edges, dtype=torch.float64).unsqueeze(0).to(dtype)
        lengths = spread.requires_grad_(), spread.detach().double().requires_grad_()
        cases[f"{name}convolution"] = tuple(
            three_orders(function(paths), x[k], y[k], w[k], index, N_ATOMS)
            for k, function in enumerate((convolution, with_einsum))
        )
        cases[f"{name}spline_convolution"] = tuple(
            first_order(function(paths), x[k], y[k], lengths[k], knots[k].detach(), index)
            for k, function in enumerate((spline, spline_with_einsum))
        )
    inputs, gates = random(2, N_ATOMS, 6, n_channels), random(2, N_ATOMS, 5 * n_channels)
    linear, reference = (
        kind(2, [3, 1], n_channels, n_channels, kind_dtype, 2 * n_channels, 0.7)
        for kind, kind_dtype in ((LinearNative, dtype), (EquivariantLinear, torch.float64))
    )
    weight = random(*linear.weight.shape)

    def apply(module):
        return lambda x, w: torch.func.functional_call(module, {"weight": w}, (x,))

    one, other = random(1, N_ATOMS, 4, n_channels), random(1, N_ATOMS, 4, n_channels)
    vectors = random(1, n_channels, 3)  # as many edges as there are channels
    row_knots = random(1, 6, 2, n_channels, scale=0.1)
    return cases | {
        "channel_product": tuple(
            three_orders_of(function, one[k], other[k]) for k, function in enumerate((product, product_with_einsum))
        ),
        "linear": tuple(
            three_orders_of(apply(module), inputs[k], weight[k]) for k, module in enumerate((linear, reference))
        ),
        "gate": tuple(
            three_orders_of(module, gates[k])
            for k, module in enumerate((GateNative(1, n_channels), Gate(1, n_channels)))
        ),
        "interpolation": tuple(
            three_orders_of(function, row_knots[k], lengths[k]) for k, function in enumerate((interpolation, hermite))
        ),
        "edge_geometry": tuple(
            three_orders_of(function, vectors[k]) for k, function in enumerate((geometry, geometry_with_e3nn))
        ),
    }


def worst_deviations(widths: tuple[int, ...] = WIDTHS) -> dict[str, float]:
    """The largest deviation of each operator, width and dtype, over its tolerance."""
    worst = {}
    for dtype, tolerance in TOLERANCE.items():
        for n_channels in widths:
            for name, (found, expected) in both(n_channels, dtype).items():
                deviations = [
                    float((a.detach().double() - b.detach()).abs().max() / b.detach().abs().max())
                    for a, b in zip(found, expected, strict=True)
                ]
                worst[f"{name}, {n_channels} channels, {dtype}"] = max(deviations) / tolerance
    return worst


def convolution_bytes(n_threads: int) -> bytes:
    """Values and derivatives of convolutions."""
    torch.set_num_threads(n_threads)
    assert torch.get_num_threads() == n_threads
    generator = torch.Generator().manual_seed(0)
    n_atoms, n_edges = 100, 1000
    index = torch.randint(0, n_atoms, (2, n_edges), generator=generator)
    found = []
    for n_channels in (8, 12, 33):
        x = torch.randn(2, n_atoms, 9, n_channels, generator=generator).requires_grad_()
        y = torch.randn(1, n_edges, 9, generator=generator).requires_grad_()
        w = torch.randn(2, n_edges, 11 * n_channels, generator=generator).requires_grad_()
        found += three_orders(convolution(tuple(tensor_product_paths(2, 2, 2))), x, y, w, index, n_atoms)
        found += three_orders(
            convolution(tuple(scattered_paths(2, 2, 2))), x, y, w[:, :, : 5 * n_channels], index, n_atoms
        )
    return b"".join(part.detach().numpy().tobytes() for part in found)


def write_results() -> None:
    """What the tests ask of one set, whose process this is.

    On one thread but where threads are the subject: two that wait for each other busily, in thousands of operations
    too small to share, take minutes where other programs want the cores too.
    """
    torch.set_num_threads(1)
    results = {
        "set": torch.ops.mollifield.instruction_set(),
        "worst": worst_deviations(),
        "bytes": [convolution_bytes(n_threads) for n_threads in (1, 2)],
    }
    torch.save(results, sys.stdout.buffer)


@cache
def results(isa: str) -> dict:
    return torch.load(io.BytesIO(output(isa, f"from {__name__} import write_results; write_results()")))


def output(isa: str, code: str) -> bytes:
    """Of a process that is to use this set."""
    environment = {**os.environ, "MOLLIFIELD_ISA": isa, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout


@pytest.mark.parametrize("isa", SETS)
def test_every_width_equals_the_reference(isa: str) -> None:
    """Whole vectors, parts of them, single channels."""
    assert results(isa)["set"] == isa
    worst = results(isa)["worst"]
    assert len(worst) == 9 * len(WIDTHS) * len(TOLERANCE)
    assert {case: ratio for case, ratio in worst.items() if not ratio < 1.0} == {}


@pytest.mark.parametrize("isa", SETS)
def test_deterministic_whatever_the_number_of_threads(isa: str) -> None:
    one, two = results(isa)["bytes"]
    assert len(one) > 1_000_000
    assert one == two


def test_sets_are_different_kernels() -> None:
    """They round differently: what is compared above is not one of them three times."""
    assert len({results(isa)["bytes"][0] for isa in SETS}) == len(SETS)


@pytest.mark.parametrize("isa", ["sse9", *sorted({"avx2", "avx512"}.difference(SETS))])
def test_missing_instruction_set_is_refused(isa: str) -> None:
    ask = "from mollifield.native import has_native; import torch; has_native(); torch.ops.mollifield.instruction_set()"
    with pytest.raises(subprocess.CalledProcessError) as failure:
        output(isa, ask)
    assert f"MOLLIFIELD_ISA={isa}: this processor has {', '.join(SETS)}".encode() in failure.value.stderr
