"""The whole model: embed, message-passing layers, readout."""

import copy
import math

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from .backends import BACKENDS, Backend, choose_backend
from .initialisation import member_normal_
from .linear import EquivariantLinear
from .messages import NoBasis, RadialMessages, SplineMessages
from .product import SquaredUpdate, Update
from .radial import BesselBasis, RadialNetwork
from .repulsion import ZBLRepulsion


class Layer(nn.Module):
    """One round of messages: mix, convolve with neighbours, mix, add the atom itself, gate."""

    def __init__(
        self,
        backend: Backend,
        l_max_in: int,
        l_max: int,
        l_max_out: int,
        n_members: int,
        n_types: int,
        n_channels: int,
        n_radial: int,
        radial_hidden: list[int],
        average_neighbours: float,
        correlation: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        l_max_messages = l_max_out if correlation == 1 else l_max
        convolution = backend.convolution(l_max_in, l_max, l_max_messages, n_channels)
        self.gate = backend.gate(l_max_out, n_channels)
        n_scalars = self.gate.n_scalars_in

        def linear(n_paths: list[int], n_scalars_out: int, scale: float = 1.0) -> EquivariantLinear:
            return backend.linear(
                n_members, n_paths, n_channels, n_channels, dtype, n_scalars_out, scale
            )

        self.mix_in = linear([1] * (l_max_in + 1), n_channels)
        radial = RadialNetwork(
            n_members, n_radial, radial_hidden, len(convolution.paths) * n_channels, dtype,
            backend.gate(0, n_channels),
        )
        self.messages = RadialMessages(radial, convolution)
        paths_per_l = convolution.paths_per_l
        message_scale = 1.0 / math.sqrt(max(average_neighbours, 1.0))
        if correlation == 1:
            self.update = Update(linear(paths_per_l, n_scalars, message_scale))
        else:
            square = backend.square(l_max, l_max_out, n_channels)
            self.update = SquaredUpdate(
                square,
                linear(paths_per_l, n_channels, message_scale),
                linear([1] * (l_max_out + 1), n_scalars),
                linear(square.paths_per_l, n_scalars),
                l_max_out,
                n_channels,
            )
        l_self = min(l_max_in, l_max_out)
        self.n_self = (l_self + 1) ** 2
        self.n_gate_inputs = n_scalars + ((l_max_out + 1) ** 2 - 1) * n_channels
        self.mix_self = linear([1] * (l_self + 1), n_scalars)
        self.type_scales = nn.Parameter(torch.empty(n_members, n_types, n_channels, dtype=dtype))

    def send(self, x: Tensor) -> Tensor:
        """What an atom's neighbours receive of it: ``x [M, N, (l_in+1)^2, C]`` -> the same shape."""
        return self.mix_in(x).view(x.shape)

    def keep(self, x: Tensor, scales: Tensor) -> Tensor:
        """What an atom's own features add to the inputs of its gate.

        ``x [M, N, (l_in+1)^2, C]``, ``scales [M, N, C]`` of its species -> ``[M, N, D]``.
        """
        kept = self.mix_self(x.narrow(2, 0, self.n_self) * scales.unsqueeze(2))
        if kept.shape[2] == self.n_gate_inputs:
            return kept
        return torch.nn.functional.pad(kept, [0, self.n_gate_inputs - kept.shape[2]])

    def receive(
        self, sent: Tensor, kept: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor,
        edge_index: Tensor,
    ) -> Tensor:
        """``sent [M, N', (l_in+1)^2, C]``, ``kept [M, N, D]`` -> features ``[M, N, (l_out+1)^2, C]``.

        N' >= N: atoms beyond the first N only send.
        """
        messages = self.messages(sent, harmonics, lengths, basis, edge_index, kept.shape[1])
        return self.gate(self.update(messages) + kept)


class Readout(nn.Module):
    """Two-layer perceptron on scalars: one number an atom."""

    def __init__(
        self, n_members: int, n_channels: int, hidden: int, dtype: torch.dtype, silu: nn.Module
    ) -> None:
        super().__init__()
        self.silu = silu
        self.weight_1 = nn.Parameter(torch.empty(n_members, n_channels, hidden, dtype=dtype))
        self.weight_2 = nn.Parameter(torch.empty(n_members, hidden, 1, dtype=dtype))

    def forward(self, latent: Tensor) -> Tensor:
        """``latent [M, N, C]`` -> ``[M, N]``, in units of the model's energy scale."""
        x = torch.bmm(latent, self.weight_1 / math.sqrt(self.weight_1.shape[1]))
        x = self.silu(x).squeeze(2)
        return torch.bmm(x, self.weight_2 / math.sqrt(self.weight_2.shape[1])).squeeze(-1)


class Embedding(nn.Module):
    """Geometry and species into the first features; computed once for all members and layers."""

    def __init__(
        self, geometry: nn.Module, n_members: int, n_types: int, n_channels: int, n_radial: int,
        r_max: float, dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.species_embedding = nn.Parameter(
            torch.empty(n_members, n_types, n_channels, dtype=dtype)
        )
        self.basis = BesselBasis(n_radial, r_max, dtype)
        self.geometry = geometry

    def forward(self, edge_vectors: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features ``[M, N, 1, C]``, harmonics ``[G, E, (l_max+1)^2]``, basis, lengths ``[G, E]``."""
        harmonics, lengths = self.geometry(edge_vectors)
        x = self.species_embedding.index_select(1, types).unsqueeze(2)
        return x, harmonics, self.basis(lengths), lengths


class Potential(nn.Module):
    """A committee of E(3)-equivariant message-passing potentials of one architecture.

    Follows NequIP (Batzner et al., Nat. Commun. 13, 2453 (2022)): Bessel radial basis, channelwise
    tensor products with spherical harmonics, gated nonlinearities, energies summed over atoms.
    Members differ in weights only; every parameter carries a leading member dimension, so that
    geometry is computed once and members train and run in one pass. Inputs, outputs, units and
    signs: `mollifield.contract`. With ``correlation`` 2 every layer also multiplies an atom's messages
    with each other (`SquaredUpdate`).

    ``atomic_shifts`` (eV, one for each species) and ``energy_scale`` (eV, the scale of forces times 1 Å)
    are data statistics: E_i = energy_scale * network_i + shift[type_i] (+ ZBL repulsion).
    """

    def __init__(
        self,
        *,
        species: list[str],
        r_max: float,
        atomic_shifts: list[float],
        energy_scale: float,
        average_neighbours: float,
        l_max: int = 2,
        n_layers: int = 2,
        n_channels: int = 32,
        n_radial: int = 8,
        radial_hidden: list[int] | None = None,
        readout_hidden: int = 16,
        correlation: int = 1,
        zbl: bool = False,
        n_members: int = 1,
        dtype: torch.dtype = torch.float32,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        hidden = [64] if radial_hidden is None else radial_hidden
        backend = choose_backend(backend)
        if correlation not in (1, 2):
            raise ValueError(f"correlation {correlation}: allowed are 1 and 2")
        if len(atomic_shifts) != len(species):
            raise ValueError(f"{len(atomic_shifts)} atomic shifts for {len(species)} species")
        self.species = species
        self.r_max = r_max
        self.n_layers = n_layers
        self.n_members = n_members
        self.dtype = dtype
        self.backend = backend
        self.settings = {
            "species": list(species), "r_max": r_max, "average_neighbours": average_neighbours,
            "l_max": l_max, "n_layers": n_layers, "n_channels": n_channels, "n_radial": n_radial,
            "radial_hidden": list(hidden), "readout_hidden": readout_hidden,
            "correlation": correlation, "zbl": zbl,
        }
        n_types = len(species)
        shape = (n_members, n_types)
        shifts = torch.tensor(atomic_shifts, dtype=torch.float64).expand(shape).clone()
        self.register_buffer("atomic_shifts", shifts)
        self.register_buffer(
            "energy_scale", torch.full((n_members, 1), energy_scale, dtype=torch.float64)
        )
        with _default_dtype(dtype):  # e3nn builds its constants in the default dtype
            implementation = BACKENDS[backend]
            # A single layer without products takes scalars to scalars, which couple through l = 0 alone.
            l_edge = l_max if n_layers > 1 or correlation > 1 else 0
            self.embedding = Embedding(
                implementation.geometry(l_edge), n_members, n_types, n_channels, n_radial, r_max, dtype
            )
            self.layers = nn.ModuleList(
                Layer(
                    implementation, l_in, l_edge, l_out, n_members, n_types, n_channels, n_radial, hidden,
                    average_neighbours, correlation, dtype,
                )
                for l_in, l_out in _layer_degrees(l_max, n_layers)
            )
            self.readout = Readout(
                n_members, n_channels, readout_hidden, dtype, implementation.gate(0, readout_hidden)
            )
        numbers = [atomic_numbers[symbol] for symbol in species]
        self.repulsion = ZBLRepulsion(numbers, r_max, dtype) if zbl else None
        self.initialise(0)

    def rebuilt(
        self, n_members: int | None = None, dtype: torch.dtype | None = None
    ) -> "Potential":
        """The same architecture, perhaps with other members or precision; weights drawn from seed 0."""
        return Potential(
            **self.settings,
            atomic_shifts=self.atomic_shifts[0].tolist(),
            energy_scale=float(self.energy_scale[0]),
            n_members=self.n_members if n_members is None else n_members,
            dtype=self.dtype if dtype is None else dtype,
            backend=self.backend,
        )

    def member_state(self) -> dict[str, Tensor]:
        """Every tensor in which members differ, each with a leading member dimension.

        Parameters and data statistics; backends and constants don't enter, so that weights trained
        with one backend load into another.
        """
        return {
            **{name: parameter.detach() for name, parameter in self.named_parameters()},
            "atomic_shifts": self.atomic_shifts,
            "energy_scale": self.energy_scale,
        }

    def member_tensors(self) -> list[str]:
        """Names of all parameters and buffers with a leading member dimension, spline tables included."""
        tables = [
            f"{name}.knots" for name, part in self.named_modules() if isinstance(part, SplineMessages)
        ]
        return [*self.member_state(), *tables]

    def load_member_state(self, state: dict[str, Tensor]) -> None:
        """The inverse of `member_state`; `ValueError` names the first tensor that doesn't fit."""
        own = self.member_state()
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())[0]
            raise ValueError(f"weights of another architecture: {odd} is in one of the two only")
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(
                    f"weights of another architecture: {name} is {list(state[name].shape)}, "
                    f"this model has {list(tensor.shape)}"
                )
            tensor.copy_(state[name])

    def rescale(self, energy_scale: float) -> None:
        """Take another energy scale (eV) for what is learnt from now on.

        The readout's last weights take up the change, so that energies stay the same, to rounding.
        """
        factor = self.energy_scale / energy_scale
        self.readout.weight_2.data.mul_(factor.unsqueeze(2).to(self.dtype))
        self.energy_scale.fill_(energy_scale)

    def tabulated(self, n_knots: int) -> "Potential":
        """A copy to run, not to train: radial networks replaced by splines of ``n_knots`` knots.

        Needs the native backend (`SplineMessages`).
        """
        if self.backend != "native":
            raise ValueError(f"splines need backend native; this model has {self.backend}")
        model = copy.deepcopy(self)
        for layer in model.layers:
            layer.messages = SplineMessages(layer.messages, model.embedding.basis, n_knots)
        model.embedding.basis = NoBasis()
        return model

    def initialise(self, seed: int) -> None:
        """Draw all weights anew; member m uses ``seed + m`` alone, whatever the number of members."""
        generators = [torch.Generator().manual_seed(seed + m) for m in range(self.n_members)]
        for name, parameter in self.named_parameters():
            member_normal_(parameter, generators)
            if name.endswith("type_scales"):
                parameter.data.mul_(0.1).add_(1.0)
            elif name == "readout.weight_2" or "mix_square" in name:
                parameter.data.mul_(0.1)  # start near the shifts, and near linear: less to unlearn

    def forward(
        self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor
    ) -> dict[str, Tensor]:
        """``atomic_energies [M, N]`` float64 and ``latent [M, N, C]``; see `mollifield.contract`."""
        x, harmonics, basis, lengths = self.embedding(edge_vectors, types)
        species = self.embedding.species_embedding.unsqueeze(2)
        for number, layer in enumerate(self.layers):
            if number == 0:  # atoms of one species are alike
                sent = layer.send(species).index_select(1, types)
                kept = layer.keep(species, layer.type_scales).index_select(1, types)
            else:
                sent = layer.send(x)
                kept = layer.keep(x, layer.type_scales.index_select(1, types))
            x = layer.receive(sent, kept, harmonics, lengths, basis, edge_index)
        return self.read(x, lengths, edge_index, types)

    def send(self, k: int, x: Tensor) -> Tensor:
        """`Layer.send` of layer ``k``."""
        for number, layer in enumerate(self.layers):
            if number == k:
                x = layer.send(x)
        return x

    def receive(
        self, k: int, sent: Tensor, x: Tensor, harmonics: Tensor, lengths: Tensor, basis: Tensor,
        edge_index: Tensor, types: Tensor,
    ) -> Tensor:
        """`Layer.keep` and `Layer.receive` of layer ``k``."""
        for number, layer in enumerate(self.layers):
            if number == k:
                kept = layer.keep(x, layer.type_scales.index_select(1, types[: x.shape[1]]))
                x = layer.receive(sent, kept, harmonics, lengths, basis, edge_index)
        return x

    def read(
        self, x: Tensor, lengths: Tensor, edge_index: Tensor, types: Tensor
    ) -> dict[str, Tensor]:
        """Features of the last layer -> what `forward` returns, for the atoms that ``x`` holds."""
        latent, n_centres = x.select(2, 0), x.shape[1]
        energies = self.readout(latent).to(torch.float64) * self.energy_scale
        energies = energies + self.atomic_shifts.index_select(1, types[:n_centres])
        if self.repulsion is not None:
            energies = energies + self.repulsion(lengths, edge_index, types, n_centres).to(torch.float64)
        return {"atomic_energies": energies, "latent": latent}  # of `contract`, which scripting reads no names of


def _layer_degrees(l_max: int, n_layers: int) -> list[tuple[int, int]]:
    """(l_in, l_out) of each layer: species are scalars, and only scalars are read out."""
    inner = [l_max] * (n_layers - 1)
    return list(zip([0, *inner], [*inner, 0]))


class _default_dtype:
    """Set torch's default dtype inside a ``with`` block only."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        self.previous = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *exception: object) -> None:
        torch.set_default_dtype(self.previous)
