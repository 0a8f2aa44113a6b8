"""The reference of the native operators in ATen, for any device, against the kernels of the CPU.

On the CPU it runs where the environment says MOLLIFIELD_ISA=reference: in a process of its own.
"""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest
import torch

from mollifield import has_native
from mollifield_train.model.coupling import coupling_table
from mollifield_train.model.geometry import GeometryE3nn
from mollifield_train.model.irreps import paths_per_l, tensor_product_paths

from .test_instruction_sets import TOLERANCE
from .test_operators import three_orders_of

assert has_native(), "libmollifield.so must be built for the tests"
OPS = torch.ops.mollifield
N_ATOMS, N_CENTRES = 5, 4  # the last atom only sends
R_MAX = 2.0
MEMBERS_GEOMETRIES = [(1, 1), (3, 1), (3, 3)]
DTYPES = [torch.float32, torch.float64]

FIRST_ORDER = ("spline_convolution", "products_update", "products_update normalised")
"""Without second derivatives."""

Operator = tuple[Callable[..., torch.Tensor], list[torch.Tensor]]


def geometry(l_max: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Harmonics, and behind them the lengths."""

    def function(vectors: torch.Tensor) -> torch.Tensor:
        harmonics, lengths = OPS.edge_geometry(vectors, l_max)
        return torch.cat([harmonics, lengths.unsqueeze(2)], dim=2)

    return function


def operators(
    members: int,
    geometries: int,
    dtype: torch.dtype,
    device: str = "cpu",
    l: int = 2,
    n_edges: int = 17,
    n_channels: int = 5,
    degrees: tuple[int, ...] = (0, 1, 2, 3),
) -> dict[str, Operator]:
    """Name of an operator -> a function of what it is differentiated by, and that."""
    generator = torch.Generator().manual_seed(members)

    def random(*shape: int) -> torch.Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return drawn.to(device=device, dtype=dtype).requires_grad_()

    paths = tensor_product_paths(l, l, l)
    terms, coefficients = coupling_table(paths)
    n_components, n_weights = (l + 1) ** 2, len(paths) * n_channels
    index = torch.randint(0, N_CENTRES, (2, n_edges), generator=generator).to(device)
    x, y = random(members, N_ATOMS, n_components, n_channels), random(geometries, n_edges, n_components)
    spread = torch.linspace(0.1, 1.1 * R_MAX, n_edges, dtype=torch.float64)  # the last ones are too long
    lengths = spread.repeat(geometries, 1).to(device=device, dtype=dtype).requires_grad_()
    knots = random(members, 6, 2, n_weights).detach()
    knots[:, -1] = 0.0
    all_of = {
        "convolution": (
            lambda x, y, w: OPS.convolution(x, y, w, index, N_CENTRES, terms, coefficients),
            [x, y, random(members, n_edges, n_weights)],
        ),
        "spline_convolution": (
            lambda x, y, r: OPS.spline_convolution(x, y, r, knots, R_MAX, index, N_CENTRES, terms, coefficients),
            [x, y, lengths],
        ),
        "channel_product": (
            lambda a, b: OPS.channel_product(a, b, terms, coefficients),
            [x, random(members, N_ATOMS, n_components, n_channels)],
        ),
        "linear": (
            lambda x, w: OPS.linear(x, w, [2, 1, 3], 4, 7, 0.7),
            [random(members, N_ATOMS, 20, n_channels), random(members, n_channels * (2 * 7 + 4 + 3 * 4))],
        ),
    }
    per_l, one, n_scalars = paths_per_l(paths), [1] * (l + 1), 2 * n_channels
    to_features, to_gate = n_channels * n_channels, [2] + [1] * l  # l = 0 has the gates too
    sizes = [
        to_features * (l + 1),
        *(to_features * sum(n * width for n, width in zip(counts, to_gate, strict=True)) for counts in (one, per_l)),
        to_features * sum(per_l),
        to_features * sum(n * width for n, width in zip(per_l, to_gate, strict=True)),
    ]
    fixed = [random(members, size).detach() for size in sizes]
    kept = random(members, N_ATOMS, n_scalars + (n_components - 1) * n_channels)
    for name, epsilon in (("products_update", None), ("products_update normalised", 0.01)):
        all_of[name] = (
            lambda x, kept, epsilon=epsilon: OPS.products_update(
                x, kept, fixed, [terms] * 2, [coefficients] * 2, one, per_l, per_l, n_scalars, 0.7, epsilon
            ),
            [x, kept],
        )
    for degree in degrees:
        n_inputs = ((degree + 1) ** 2 + degree) * n_channels
        all_of[f"gate {degree}"] = (lambda u, d=degree: OPS.gate(u, d), [random(members, N_ATOMS, n_inputs)])
        all_of[f"edge_geometry {degree}"] = (geometry(degree), [random(geometries, n_edges, 3)])
    rows = random(members, 7, 2, n_channels)
    all_of["interpolation"] = (lambda k, r: OPS.interpolation(k, r, R_MAX), [rows, lengths])
    return all_of


def derivatives(name: str, function: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Value, first and second derivatives; of those that are run, not trained, value and first ones."""
    if name not in FIRST_ORDER:
        found = three_orders_of(function, *inputs)
    else:
        out = function(*inputs)
        cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).view_as(out)
        found = [out, *torch.autograd.grad(out, inputs, cotangent)]
    return [part.detach().cpu() if part.device.type != "meta" else part for part in found]


def answers(members: int, geometries: int, dtype: torch.dtype, device: str = "cpu") -> dict[str, list[torch.Tensor]]:
    """Of all operators."""
    found = operators(members, geometries, dtype, device)
    return {name: derivatives(name, *found[name]) for name in found}


def checked() -> dict[str, bool]:
    """Whether derivatives are those of finite differences, second ones too where there are any."""
    small = operators(2, 1, torch.float64, l=1, n_edges=4, n_channels=1, degrees=(0, 1, 4))
    return {
        name: torch.autograd.gradcheck(function, inputs)
        and (name in FIRST_ORDER or torch.autograd.gradgradcheck(function, inputs))
        for name, (function, inputs) in small.items()
    }


def errors() -> dict[str, str]:
    """What is said of atoms that aren't there, and of a second derivative that isn't."""
    found = {}
    x, y, w = torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1), torch.ones(1, 1, 1)
    table = torch.zeros(1, 4, dtype=torch.int64), torch.ones(1)
    for name, index in (("centre", [[2], [0]]), ("source", [[0], [-1]])):
        try:
            OPS.convolution(x, y, w, torch.tensor(index), 2, *table)
        except IndexError as error:
            found[name] = str(error)
    function, inputs = operators(1, 1, torch.float64)["spline_convolution"]
    out = function(*inputs)
    try:
        torch.autograd.grad(out, inputs, torch.ones_like(out).requires_grad_(), create_graph=True)
    except NotImplementedError as error:
        found["spline"] = str(error)
    return found


def all_answers() -> dict[tuple, dict[str, list[torch.Tensor]]]:
    """By members, geometries and dtype."""
    return {(*both, dtype): answers(*both, dtype) for both in MEMBERS_GEOMETRIES for dtype in DTYPES}


def write_results() -> None:
    """What the tests ask of the reference, whose process this is."""
    results = {"name": OPS.instruction_set(), "answers": all_answers(), "checked": checked(), "errors": errors()}
    torch.save(results, sys.stdout.buffer)


@cache
def reference() -> dict:
    code = f"from {__name__} import write_results; write_results()"
    environment = {**os.environ, "MOLLIFIELD_ISA": "reference"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    return torch.load(io.BytesIO(done.stdout))


def same(found: dict[str, list[torch.Tensor]], expected: dict[str, list[torch.Tensor]], dtype: torch.dtype) -> None:
    """Within what rounding does to one set of kernels, relative to the largest entry."""
    assert found.keys() == expected.keys()
    for name, parts in expected.items():
        for order, (ours, theirs) in enumerate(zip(found[name], parts, strict=True)):
            limit = TOLERANCE[dtype] * max(1.0, float(theirs.abs().max()))
            message = lambda text, name=name, order=order: f"{name}, result {order}: {text}"  # noqa: E731
            torch.testing.assert_close(ours, theirs, atol=limit, rtol=0, msg=message)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("members", "geometries"), MEMBERS_GEOMETRIES)
def test_kernels_equal_the_reference(members: int, geometries: int, dtype: torch.dtype) -> None:
    """Values, first and second derivatives of every operator."""
    assert OPS.instruction_set() != "reference" == reference()["name"]
    kernels, expected = answers(members, geometries, dtype), reference()["answers"][members, geometries, dtype]
    same(kernels, expected, dtype)
    parts = [(ours, theirs) for name in kernels for ours, theirs in zip(kernels[name], expected[name], strict=True)]
    assert not all(torch.equal(*pair) for pair in parts)  # other sums in another order: not one of them twice


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gpu_gives_the_same_numbers(dtype: torch.dtype) -> None:
    same(answers(3, 1, dtype, "cuda"), answers(3, 1, dtype), dtype)


def test_derivatives_of_the_reference_are_those_of_its_values() -> None:
    assert len(reference()["checked"]) == 7 + 2 * 3
    assert all(reference()["checked"].values())


def test_the_reference_says_what_the_kernels_say() -> None:
    assert reference()["errors"] == errors()
    assert errors().keys() == {"centre", "source", "spline"}
    assert "edge 0 names atom 2 of 2" in errors()["centre"]


@pytest.mark.parametrize("l_max", [4, 6])
def test_harmonics_beyond_the_kernels_equal_e3nn(l_max: int) -> None:
    """Of a degree that kernels don't know: the reference, whatever the device."""
    vectors = torch.randn(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()

    def expected(vectors: torch.Tensor) -> torch.Tensor:
        harmonics, lengths = GeometryE3nn(l_max)(vectors)
        return torch.cat([harmonics, lengths.unsqueeze(2)], dim=2)

    ours, theirs = ({"edge_geometry": derivatives("", f, [vectors])} for f in (geometry(l_max), expected))
    same(ours, theirs, torch.float64)


def test_a_device_without_kernels_runs_the_reference() -> None:
    """Shapes of values and derivatives, on one that has no numbers."""
    for name, (function, inputs) in operators(3, 1, torch.float32, "meta").items():
        on_cpu = operators(3, 1, torch.float32)[name]
        found, expected = (derivatives(name, *both) for both in ((function, inputs), on_cpu))
        assert all(part.is_meta for part in found), name
        assert [part.shape for part in found] == [part.shape for part in expected], name


def test_tensors_of_two_devices_are_refused() -> None:
    on_cpu, elsewhere = operators(1, 1, torch.float32), operators(1, 1, torch.float32, "meta")
    for name in ("convolution", "spline_convolution", "channel_product", "linear", "products_update"):
        function, inputs = on_cpu[name]
        with pytest.raises(ValueError, match="must lie on one device; found cpu, .*meta"):
            function(*inputs[:-1], elsewhere[name][1][-1])
    function, _ = elsewhere["convolution"]
    with pytest.raises(ValueError, match="edge_index and features must lie on one device; found meta, cpu"):
        function(*on_cpu["convolution"][1])
