"""The whole network: embed, message-passing layers, readout."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from ..architecture import Architecture
from ..backends import BACKENDS, Backend, choose_backend
from ..base import ScaledPotential
from ..irreps import MESSAGE_PATHS, tensor_product_paths
from ..linear import EquivariantLinear
from ..messages import NoBasis, SplineMessages
from ..product import RMS_EPSILON, CubedUpdate, FusedUpdate, SquaredUpdate, Update, square_paths
from ..radial import BesselBasis, RadialNetwork
from ..repulsion import ZBLRepulsion
from ..samples import initialise, member_state
from .config import EquivariantConfig


class Layer(nn.Module):
    """One round of messages: mix, convolve with neighbours, mix, add the atom itself, gate."""

    def __init__(
        self,
        architecture: Architecture[EquivariantConfig],
        backend: Backend,
        l_max_in: int,
        l_max_edge: int,
        l_max_out: int,
    ) -> None:
        """Features up to `l_max_in` and harmonics up to `l_max_edge` make features up to `l_max_out`."""
        super().__init__()
        settings, n_members, dtype = architecture.settings, architecture.n_trunks, architecture.dtype
        n_channels = settings.n_channels
        l_max_messages = l_max_out if settings.correlation == 1 else l_max_edge
        paths = MESSAGE_PATHS[settings.messages](l_max_in, l_max_edge, l_max_messages)
        convolution = backend.convolution(paths, n_channels)
        self.gate = backend.gate(l_max_out, n_channels)
        n_scalars = self.gate.n_scalars_in

        def linear(n_paths: list[int], n_scalars_out: int, scale: float = 1.0) -> EquivariantLinear:
            return backend.linear(n_members, n_paths, n_channels, n_channels, dtype, n_scalars_out, scale)

        self.mix_in = linear([1] * (l_max_in + 1), n_channels)
        radial = RadialNetwork(
            n_members,
            settings.n_radial,
            settings.radial_hidden,
            len(convolution.paths) * n_channels,
            dtype,
            backend.gate(0, n_channels),
        )
        self.messages = backend.messages(radial, convolution, BesselBasis(settings.n_radial, settings.r_max, dtype))
        message_scale = 1.0 / math.sqrt(max(architecture.average_neighbours, 1.0))
        n_mixed = n_scalars if settings.correlation == 1 else n_channels
        mix = linear(convolution.paths_per_l, n_mixed, message_scale)
        self.update = (
            Update(mix)
            if settings.correlation == 1
            else _products(settings, backend, linear, mix, l_max_edge, l_max_out, n_scalars)
        )
        l_self = min(l_max_in, l_max_out)
        self.n_self = (l_self + 1) ** 2
        self.n_gate_inputs = n_scalars + ((l_max_out + 1) ** 2 - 1) * n_channels
        self.mix_self = linear([1] * (l_self + 1), n_scalars)
        self.type_scales = nn.Parameter(torch.empty(n_members, len(architecture.species), n_channels, dtype=dtype))

    def send(self, x: Tensor) -> Tensor:
        """What an atom's neighbours receive of it: `x [M, N, (l_in+1)^2, C]` -> the same shape."""
        return self.mix_in(x).view(x.shape)

    def keep(self, x: Tensor, scales: Tensor) -> Tensor:
        """What an atom's own features add to the inputs of its gate.

        `x [M, N, (l_in+1)^2, C]`, `scales [M, N, C]` of its species -> `[M, N, D]`.
        """
        kept = self.mix_self(x.narrow(2, 0, self.n_self) * scales.unsqueeze(2))
        if kept.shape[2] == self.n_gate_inputs:
            return kept
        return torch.nn.functional.pad(kept, [0, self.n_gate_inputs - kept.shape[2]])

    def receive(
        self, sent: Tensor, kept: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor, edge_index: Tensor
    ) -> Tensor:
        """`sent [M, N', (l_in+1)^2, C]`, `kept [M, N, D]` -> features `[M, N, (l_out+1)^2, C]`.

        N' >= N: atoms beyond the first N only send.
        """
        messages = self.messages(sent, harmonics, lengths, basis, edge_index, kept.shape[1])
        return self.gate(self.update(messages, kept))


def _products(
    settings: EquivariantConfig,
    backend: Backend,
    linear: Callable[[list[int], int], EquivariantLinear],
    mix: EquivariantLinear,
    l_max: int,
    l_max_out: int,
    n_scalars: int,
) -> nn.Module:
    """Messages mixed to one path for each l up to `l_max`, with products of them, to the inputs of the gate."""
    n_channels, epsilon = settings.n_channels, RMS_EPSILON if settings.rms_norm else None
    mix_linear = linear([1] * (l_max_out + 1), n_scalars)
    if settings.correlation == 2:
        square = backend.product(square_paths(l_max, l_max_out), n_channels)
        mix_square = linear(square.paths_per_l, n_scalars)
        return SquaredUpdate(square, mix, mix_linear, mix_square, l_max_out, n_channels, epsilon)
    square = backend.product(square_paths(l_max, l_max), n_channels)
    cube = backend.product(tensor_product_paths(l_max, l_max, l_max_out), n_channels)
    mix_square = linear(square.paths_per_l[: l_max_out + 1], n_scalars)
    mix_inner = linear(square.paths_per_l, n_channels)
    mix_cube = linear(cube.paths_per_l, n_scalars)
    return CubedUpdate(square, cube, mix, mix_linear, mix_square, mix_inner, mix_cube, l_max_out, n_channels, epsilon)


class Readout(nn.Module):
    """Two-layer perceptron on scalars: one number an atom. Samples on one trunk add a linear function."""

    def __init__(self, architecture: Architecture[EquivariantConfig], backend: Backend) -> None:
        super().__init__()
        n_members, n_channels = architecture.n_members, architecture.settings.n_channels
        hidden, dtype = architecture.settings.readout_hidden, architecture.dtype
        self.silu = backend.gate(0, hidden)
        self.weight_1 = nn.Parameter(torch.empty(n_members, n_channels, hidden, dtype=dtype))
        self.weight_2 = nn.Parameter(torch.empty(n_members, hidden, 1, dtype=dtype))
        linear = torch.empty(n_members, n_channels, 1, dtype=dtype)
        self.weight_3 = nn.Parameter(linear) if architecture.shared_trunk else None

    def hidden(self, latent: Tensor) -> Tensor:
        """`latent [M or 1, N, C]` -> hidden units `[M, N, H]`."""
        x = torch.matmul(latent, self.weight_1 / math.sqrt(self.weight_1.shape[1]))
        return self.silu(x).squeeze(2)

    def forward(self, latent: Tensor) -> Tensor:
        """`latent [T, N, C]` -> `[M, N]`, in units of the model's energy scale."""
        x = torch.bmm(self.hidden(latent), self.weight_2 / math.sqrt(self.weight_2.shape[1]))
        weight_3 = self.weight_3
        if weight_3 is not None:
            x = x + torch.matmul(latent, weight_3 / math.sqrt(weight_3.shape[1]))
        return x.squeeze(-1)


class Embedding(nn.Module):
    """Geometry and species into the first features; computed once for all members and layers."""

    def __init__(self, architecture: Architecture[EquivariantConfig], backend: Backend, l_max_edge: int) -> None:
        super().__init__()
        settings, dtype = architecture.settings, architecture.dtype
        shape = (architecture.n_trunks, len(architecture.species), settings.n_channels)
        self.species_embedding = nn.Parameter(torch.empty(shape, dtype=dtype))
        self.basis = BesselBasis(settings.n_radial, settings.r_max, dtype)
        self.geometry = backend.geometry(l_max_edge)

    def forward(self, edge_vectors: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features `[M, N, 1, C]`, harmonics `[G, E, (l_max+1)^2]`, basis, lengths `[G, E]`."""
        harmonics, lengths = self.geometry(edge_vectors)
        x = self.species_embedding.index_select(1, types).unsqueeze(2)
        return x, harmonics, self.basis(lengths), lengths


class EquivariantPotential(ScaledPotential):
    """A committee of E(3)-equivariant message-passing potentials; follows `protocol.Potential`.

    Follows NequIP (Batzner et al., Nat. Commun. 13, 2453 (2022)): Bessel radial basis, channelwise
    tensor products with spherical harmonics, gated nonlinearities, energies summed over atoms.
    Members differ in weights only; every parameter carries a leading member dimension, so that
    geometry is computed once and members train and run in one pass. Inputs, outputs, units and
    signs: `mollifield.contract`. With `correlation` 2 every layer also multiplies an atom's messages
    with each other (`SquaredUpdate`), with 3 in threes as well (`CubedUpdate`); `scattered` messages leave all
    coupling to these products, as the density trick of the atomic cluster expansion does (Drautz, Phys. Rev. B 99,
    014104 (2019)). ZBL repulsion, unless it is declined, is added to the scaled energies. It is made to be evaluated;
    after `train()` radial weights of large batches are interpolated (`TabulatedMessages`).
    """

    def __init__(self, architecture: Architecture[EquivariantConfig]) -> None:
        settings, dtype = architecture.settings, architecture.dtype
        super().__init__(architecture, settings.n_layers)
        self.backend = choose_backend(settings.backend)
        with _default_dtype(dtype):  # e3nn builds its constants in the default dtype
            backend = BACKENDS[self.backend]
            # A single layer without products takes scalars to scalars, which couple through l = 0 alone.
            l_edge = settings.l_max if settings.n_layers > 1 or settings.correlation > 1 else 0
            self.embedding = Embedding(architecture, backend, l_edge)
            self.layers = nn.ModuleList(
                Layer(architecture, backend, l_in, l_edge, l_out)
                for l_in, l_out in _layer_degrees(settings.l_max, settings.n_layers)
            )
            self.readout = Readout(architecture, backend)
        numbers = [atomic_numbers[symbol] for symbol in architecture.species]
        shortest = architecture.shortest_distances
        self.repulsion = ZBLRepulsion(numbers, settings.r_max, dtype, shortest) if settings.zbl else None
        self.gives_noise_features: bool = False
        initialise(self, 0)
        self.eval()

    def scale_initial_weights(self) -> None:
        """Start near the shifts, near linear, and with species alike in what they keep: less to unlearn."""
        for name, parameter in self.named_parameters():
            if name.endswith("type_scales"):
                parameter.data.mul_(0.1).add_(1.0)
            elif name == "readout.weight_2" or "mix_square" in name or "mix_cube" in name:
                parameter.data.mul_(0.1)
            elif name == "readout.weight_3":
                parameter.data.zero_()

    def rescale(self, energy_scale: float) -> None:
        """Take another energy scale (eV) for what is learnt from now on.

        The readout's last weights take up the change, so that energies stay the same, to rounding.
        """
        factor = self.energy_scale / energy_scale
        for weight in (self.readout.weight_2, self.readout.weight_3):
            if weight is not None:
                weight.data.mul_(factor.unsqueeze(2).to(self.dtype))
        self.energy_scale.fill_(energy_scale)

    def last_layer_weights(self) -> Tensor:
        """Of a single member: those of the hidden units, then of the latent features themselves (0 if it has none)."""
        readout = self.readout
        linear = (
            torch.zeros(readout.weight_1.shape[1]) if readout.weight_3 is None else readout.weight_3.detach().flatten()
        )
        return torch.cat([readout.weight_2.detach().flatten().double(), linear.double()])

    def last_layer_features(self, latent: Tensor) -> Tensor:
        """See `protocol.LastLayered`."""
        hidden = self.readout.hidden(latent)
        return torch.cat([hidden / math.sqrt(hidden.shape[2]), latent / math.sqrt(latent.shape[2])], dim=2).squeeze(0)

    def sampled(self, weights: Tensor) -> "EquivariantPotential":
        """See `protocol.LastLayered`."""
        hidden = self.readout.weight_2.shape[1]
        state = member_state(self) | {
            "readout.weight_2": weights[:, :hidden, None],
            "readout.weight_3": weights[:, hidden:, None],
        }
        model = EquivariantPotential(replace(self.architecture, n_members=len(weights), shared_trunk=True))
        for name, tensor in member_state(model).items():
            tensor.copy_(state[name])
        return model

    def inputs_of_weights(self, everywhere: bool) -> dict[str, Tensor]:
        """See `protocol.Droppable`; what radial networks read are no features."""
        readout = {"readout.weight_1": self.readout.weight_1, "readout.weight_2": self.readout.weight_2}
        found = {name: torch.arange(w.shape[1]).repeat_interleave(w.shape[2]) for name, w in readout.items()}
        if everywhere:
            maps = [(name, m) for name, m in self.named_modules() if isinstance(m, EquivariantLinear)]
            found |= {f"{name}.weight": module.inputs() for name, module in maps}
        return found

    def matrices(self) -> dict[str, list[tuple[int, int]]]:
        """See `protocol.HasMatrices`: maps of features and radial networks; the readout is none."""
        found: dict[str, list[tuple[int, int]]] = {}
        for name, module in self.named_modules():
            if isinstance(module, EquivariantLinear):
                found[f"{name}.weight"] = list(zip(module.fan_ins, module.widths, strict=True))
            elif isinstance(module, RadialNetwork):
                for inner, weight in module.named_parameters():
                    found[f"{name}.{inner}"] = [(weight.shape[1], weight.shape[2])]
        return found

    def give_noise_features(self) -> int:
        """See `protocol.NoiseFeatured`; a single layer has no features of l > 0 to give."""
        settings = self.architecture.settings
        self.gives_noise_features = settings.n_layers > 1
        return settings.l_max if self.gives_noise_features else -1

    def can_tabulate(self) -> bool:
        """Whether the backend has an operator for splines."""
        return self.backend == "native"

    def tabulated(self, n_knots: int) -> "EquivariantPotential":
        """A copy to run, not to train: radial networks replaced by splines of `n_knots` knots, updates by fused ones.

        Needs the native backend (`SplineMessages`, `FusedUpdate`).
        """
        if not self.can_tabulate():
            raise ValueError(f"splines need backend native; this model has {self.backend}")
        model = copy.deepcopy(self)
        for layer in model.layers:
            layer.messages = SplineMessages(layer.messages, model.embedding.basis, n_knots)
            if isinstance(layer.update, SquaredUpdate | CubedUpdate):
                layer.update = FusedUpdate(layer.update)
        model.embedding.basis = NoBasis()
        return model

    def forward(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """`atomic_energies [M, N]` float64 and `latent [T, N, C]`; see `mollifield.contract`."""
        x, harmonics, basis, lengths = self.embed(edge_vectors, types)
        species = self.embedding.species_embedding.unsqueeze(2)
        for number, layer in enumerate(self.layers):
            if number == 0:  # atoms of one species are alike
                sent = layer.send(species).index_select(1, types)
                kept = layer.keep(species, layer.type_scales).index_select(1, types)
            else:
                sent = layer.send(x)
                kept = layer.keep(x, layer.type_scales.index_select(1, types))
            x = self.passed_on(number, layer.receive(sent, kept, harmonics, lengths, basis, edge_index), x)
        return self.read(x, lengths, edge_index, types)

    def embed(self, edge_vectors: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`Embedding`."""
        return self.embedding(edge_vectors, types)

    def send(self, k: int, x: Tensor) -> Tensor:
        """`Layer.send` of layer `k`."""
        for number, layer in enumerate(self.layers):
            if number == k:
                x = layer.send(x)
        return x

    def receive(
        self,
        k: int,
        sent: Tensor,
        x: Tensor,
        harmonics: Tensor,
        lengths: Tensor,
        basis: Tensor,
        edge_index: Tensor,
        types: Tensor,
    ) -> Tensor:
        """`Layer.keep` and `Layer.receive` of layer `k`."""
        for number, layer in enumerate(self.layers):
            if number == k:
                kept = layer.keep(x, layer.type_scales.index_select(1, types[: x.shape[1]]))
                x = self.passed_on(number, layer.receive(sent, kept, harmonics, lengths, basis, edge_index), x)
        return x

    def passed_on(self, number: int, x: Tensor, before: Tensor) -> Tensor:
        """What layer `number` made of the features `before` it; of the last one both, where a noise head reads them."""
        if self.gives_noise_features and number == len(self.layers) - 1:
            return torch.cat([x, before.detach()], dim=2)
        return x

    def read(self, x: Tensor, lengths: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """Features of the last layer -> what `forward` returns, for the atoms that `x` holds."""
        latent, n_centres = x.select(2, 0), x.shape[1]
        energies = self.scaled(self.readout(latent), types[:n_centres])
        if self.repulsion is not None:
            energies = energies + self.repulsion(lengths, edge_index, types, n_centres).to(torch.float64)
        outputs = {"atomic_energies": energies, "latent": latent}  # of `contract`, which scripting reads no names of
        if self.gives_noise_features:
            outputs["noise_features"] = x.detach().flatten(2)
        return outputs


def _layer_degrees(l_max: int, n_layers: int) -> list[tuple[int, int]]:
    """(l_in, l_out) of each layer: species are scalars, and only scalars are read out."""
    inner = [l_max] * (n_layers - 1)
    return list(zip([0, *inner], [*inner, 0]))


class _default_dtype:
    """Set torch's default dtype inside a `with` block only."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        self.previous = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *exception: object) -> None:
        torch.set_default_dtype(self.previous)
