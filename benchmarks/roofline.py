"""What the arithmetic of one evaluation needs, what this core can do, and where the time goes.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/roofline.py

FLOPs and bytes are counted from the coupling tables, for 216 silicon atoms. Bytes are those of every operand
of an edge, once: rows of features, spline knots, harmonics, gradients. Most of them come from caches, so they are
compared with a copy in each level of memory. Rates are measured here: GEMM (1024^3 and the shape of the model's
largest linear map) and copies. Operators are timed alone, in the same rounds.
"""

import argparse
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import systems
import torch
from timing import Run, compare, environment, local
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.linear import EquivariantLinear
from mollifield_train.model.messages import SplineMessages
from mollifield_train.model.product import FusedUpdate, Update

FLOAT = 4  # bytes


@dataclass
class Work:
    """Of one call."""

    flops: float
    n_bytes: float


def convolution_work(part: SplineMessages, n_edges: int, n_channels: int, by_features: bool) -> tuple[Work, Work]:
    """Forward, and backward by harmonics, lengths and perhaps features, of one layer's convolution."""
    terms = part.convolution.terms
    n_terms = len(terms)
    n_rows = int(terms[:, 0].max()) + 1
    n_pairs = len(torch.unique(terms[:, [0, 2]], dim=0))
    n_in, n_edge = int(terms[:, 2].max()) + 1, int(terms[:, 3].max()) + 1
    n_weights = len(part.convolution.paths) * n_channels
    c = n_channels
    # Coupling with Y; pairs; weights and sum; spline: four products and three sums a weight.
    forward = 2 * n_terms + 2 * n_pairs * c + 2 * n_rows * c + 7 * n_weights
    # g w; t, dx and dA for each pair; dw; dY; the slope of a weight and its product with dw.
    by_pair = 6 if by_features else 4
    backward = 4 * n_terms + by_pair * n_pairs * c + 3 * n_rows * c + (7 + 6 + 2) * n_weights
    inputs = n_in * c + 4 * n_weights + n_edge + 1
    rows = n_rows * c
    forward_bytes = n_edges * (inputs + 2 * rows) * FLOAT  # out is read and written
    gradients = 2 * n_in * c * by_features + 2 * (n_edge + 1)
    backward_bytes = n_edges * (inputs + rows + gradients) * FLOAT
    return Work(n_edges * forward, forward_bytes), Work(n_edges * backward, backward_bytes)


def map_flops(mix: EquivariantLinear) -> float:
    """Of a linear map, for one atom."""
    return sum(2 * (2 * l + 1) * matrix[0].numel() for l, matrix in enumerate(mix.matrices()))


def other_linear_flops(model: EquivariantPotential, n_atoms: int) -> float:
    """Linear maps before and after the updates of layers, forward and the gradient by their input."""
    # Those of the first layer are made once a species.
    total = sum(map_flops(layer.mix_in) + map_flops(layer.mix_self) for layer in list(model.layers)[1:])
    total += 2 * model.readout.weight_1[0].numel() + 2 * model.readout.weight_2[0].numel()
    return 2 * n_atoms * total


def maps_of(update: Update | FusedUpdate) -> list[EquivariantLinear]:
    """Its linear maps, that of the messages first."""
    return [part for part in update.children() if isinstance(part, EquivariantLinear)]


def update_work(update: Update | FusedUpdate, n_atoms: int, n_channels: int, n_gate_inputs: int) -> tuple[Work, Work]:
    """Forward and backward: linear maps; three operations a term and channel of products, and twice that back."""
    maps = maps_of(update)
    products = [part for part in update.children() if not isinstance(part, EquivariantLinear)]
    linear = sum(map_flops(part) for part in maps)
    multiplied = 3 * n_channels * sum(len(product.terms) for product in products)
    n_kept = len(products) * maps[0].n_out * len(maps[0].widths) ** 2  # features that are kept for the way back
    n_bytes = n_atoms * FLOAT * (sum(maps[0].rows) * n_channels + n_kept + 2 * n_gate_inputs)
    return Work(n_atoms * (linear + multiplied), n_bytes), Work(n_atoms * (linear + 2 * multiplied), n_bytes)


def copy_case(n_bytes: int):
    """A copy of so many bytes from one place to another."""
    source, target = torch.ones(n_bytes // FLOAT), torch.ones(n_bytes // FLOAT)
    return local(lambda: target.copy_(source))


def evaluate(model: EquivariantPotential, vectors: Tensor, index: Tensor, types: Tensor) -> None:
    """Energies and the gradient by edges."""
    vectors = vectors.detach().requires_grad_()
    energies = model(vectors, index, types)["atomic_energies"]
    torch.autograd.grad(energies.sum(), vectors)


def operator_cases(
    model: EquivariantPotential, vectors: Tensor, index: Tensor, types: Tensor, timed: Callable[..., Run] = local
) -> dict[str, Run]:
    """Each layer's convolution and update alone, forward and backward."""
    cases = {}
    x, harmonics, basis, lengths = model.embedding(vectors, types)
    for k, layer in enumerate(model.layers):
        sent = layer.send(x).detach().requires_grad_(k > 0)  # the first layer's depend on species alone
        inputs = [sent, harmonics.detach().requires_grad_(), lengths.detach().requires_grad_()]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]

        def convolve(layer=layer, inputs=inputs) -> Tensor:
            return layer.messages(*inputs, basis, index, len(types))

        out = convolve()
        messages = out.detach().requires_grad_()
        kept = layer.keep(x, layer.type_scales.index_select(1, types)).detach()
        mixed = layer.update(messages, kept)
        for name, run, result, by in (
            ("convolution", convolve, out, wanted),
            ("update", partial(layer.update, messages, kept), mixed, [messages]),
        ):
            cases[f"{name} {k + 1} forward"] = timed(run)
            gradient = torch.randn_like(result)
            cases[f"{name} {k + 1} backward"] = timed(
                partial(torch.autograd.grad, result, by, gradient, retain_graph=True)
            )
        x = layer.receive(sent, kept, harmonics, lengths, basis, index).detach()
    return cases


def counted_work(model: EquivariantPotential, n_atoms: int, n_edges: int) -> dict[str, Work]:
    """Of each of `operator_cases`, and of a whole `evaluation`."""
    work = {}
    for k, layer in enumerate(model.layers):
        forward, backward = convolution_work(layer.messages, n_edges, 32, k > 0)
        work |= {f"convolution {k + 1} forward": forward, f"convolution {k + 1} backward": backward}
        forward, backward = update_work(layer.update, n_atoms, 32, layer.n_gate_inputs)
        work |= {f"update {k + 1} forward": forward, f"update {k + 1} backward": backward}
    flops = other_linear_flops(model, n_atoms) + sum(w.flops for w in work.values())
    work["evaluation"] = Work(flops, sum(w.n_bytes for w in work.values()))
    return work


def main() -> None:
    """Rates, operators, then the profile."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(environment())
    atoms = systems.silicon(3)
    n_atoms = len(atoms)
    vectors, index, types = systems.edges(atoms, "silicon")
    vectors, n_edges = vectors.float().unsqueeze(0), index.shape[1]
    model = systems.potential("silicon", "native").tabulated(512)
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    a = torch.randn(1024, 1024)
    widest = max((w for part in maps_of(model.layers[0].update) for w in part.matrices()), key=lambda w: w.shape[1])[0]
    narrow = torch.randn(5 * n_atoms, widest.shape[0])
    sizes = {"256 KiB": 2**18, "8 MiB": 2**23, "256 MiB": 2**28}
    cases = {"GEMM 1024^3": local(lambda: a @ a), "GEMM layer": local(lambda: narrow @ widest)}
    cases |= {f"copy {name}": copy_case(size // 2) for name, size in sizes.items()}
    cases |= operator_cases(model, vectors, index, types)
    cases["evaluation"] = local(partial(evaluate, model, vectors, index, types))
    times = {k: statistics.median(v) for k, v in compare(cases, options.rounds, 0.15).items()}

    work = counted_work(model, n_atoms, n_edges)
    gemm = 2 * 1024**3 / times["GEMM 1024^3"]
    print(
        f"GEMM 1024^3: {gemm * 1e-9:.1f} GFLOP/s; [{narrow.shape[0]}, {widest.shape[0]}] x [.., {widest.shape[1]}]: "
        f"{2 * narrow.numel() * widest.shape[1] / times['GEMM layer'] * 1e-9:.1f} GFLOP/s"
    )
    copies = {name: size / times[f"copy {name}"] for name, size in sizes.items()}  # half read, half written
    print("copy, read and written: " + ", ".join(f"{k} {v * 1e-9:.1f} GB/s" for k, v in copies.items()))
    print(
        f"{'':<24}{'µs/atom':>9}{'kFLOP/atom':>12}{'GFLOP/s':>9}{'% GEMM':>8}"
        f"{'kB/atom':>9}{'GB/s':>7}{'% copy 8 MiB':>14}"
    )
    for name, w in work.items():
        t = times[name]
        print(
            f"{name:<24}{t / n_atoms * 1e6:9.2f}{w.flops / n_atoms * 1e-3:12.1f}{w.flops / t * 1e-9:9.1f}"
            f"{100 * w.flops / t / gemm:8.0f}{w.n_bytes / n_atoms * 1e-3:9.1f}{w.n_bytes / t * 1e-9:7.1f}"
            f"{100 * w.n_bytes / t / copies['8 MiB']:14.0f}"
        )

    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(20):
            evaluate(model, vectors, index, types)
    table = found.key_averages()
    total = sum(entry.self_cpu_time_total for entry in table)
    n_calls = sum(entry.count for entry in table) // 20
    print(f"where the time goes (self CPU, of {total / 20 / n_atoms:.1f} µs/atom under the profiler; {n_calls} calls)")
    for entry in sorted(table, key=lambda e: -e.self_cpu_time_total)[:14]:
        share = entry.self_cpu_time_total / total
        key = re.sub(r"^torch::autograd::CppNode<.*?(\w+)[> ]*$", r"\1, backward", entry.key)
        print(f"  {key[:56]:<58}{100 * share:5.1f}%{entry.count // 20:5d} calls")


if __name__ == "__main__":
    main()
