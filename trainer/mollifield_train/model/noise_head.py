"""A head that tells the noise of labels from the features of a trained model, of any architecture."""

import math

import torch
from e3nn import o3
from torch import Tensor, nn

LOG_RANGE = math.log(1e4)
"""A variance is within this factor of that of its species, whatever the features are."""
ANISOTROPY = 3.0
"""Frobenius norm that the traceless part of a covariance's logarithm stays below."""
N_HIDDEN_OF_FORCE = 8
FEATURE_LIMIT = 10.0
"""Standardised features are cut off here."""


class Perceptron(nn.Module):
    """Two layers on standardised scalars, with biases of their own for each species; zero before it is trained."""

    def __init__(self, n_trunks: int, n_species: int, n_in: int, n_hidden: int, n_out: int) -> None:
        super().__init__()
        double = torch.float64
        self.weight_1 = nn.Parameter(torch.zeros(n_trunks, n_in, n_hidden, dtype=double))
        self.bias_1 = nn.Parameter(torch.zeros(n_trunks, n_species, n_hidden, dtype=double))
        self.weight_2 = nn.Parameter(torch.zeros(n_trunks, n_hidden, n_out, dtype=double))
        self.bias_2 = nn.Parameter(torch.zeros(n_trunks, n_species, n_out, dtype=double))

    def draw(self, generator: torch.Generator) -> None:
        """The first layer's weights, the same ones for all trunks."""
        n_in = self.weight_1.shape[1]
        with torch.no_grad():
            self.weight_1.copy_(torch.randn(self.weight_1.shape[1:], generator=generator, dtype=torch.float64))
            self.weight_1.div_(math.sqrt(n_in))

    def forward(self, scalars: Tensor, types: Tensor) -> Tensor:
        """`scalars [T, N, n_in]`, `types [N]` -> `[T, N, n_out]`."""
        hidden = torch.tanh(torch.bmm(scalars, self.weight_1) + self.bias_1.index_select(1, types))
        return torch.bmm(hidden, self.weight_2) + self.bias_2.index_select(1, types)


class NoiseHead(nn.Module):
    """Variances of energies and 3x3 covariances of forces: `noise` of `mollifield.contract`, in float64.

    With s the invariants of an atom's features and of the mean force on it, and Q_k symmetric and traceless matrices
    made of its l = 2 features, and of the force's direction,

        force_noise = exp(log v_species + f(s) + sum_k g_k(s) Q_k),        energy_noise = exp(log u_species + h(s)),

    the first a matrix exponential: positive definite, and turning with the frame because invariants do not turn and the
    Q_k do (evidential uncertainty of interatomic potentials: arXiv 2602.10419). What enters is bounded, so that
    variances are neither zero nor infinite anywhere. The mean force is an input because noise may rise with it,
    and because it has a direction where a model has no l = 2 features. Each trunk has a head of its own: tensors
    have a leading dimension T.
    """

    log_force_variance: Tensor
    """[T, n_species], of a component, eV²/Å²."""
    log_energy_variance: Tensor
    """[T, n_species], eV²."""
    force_scale: Tensor
    """[T, 1], eV/Å."""
    scalar_mean: Tensor
    scalar_std: Tensor
    quadrupole_scale: Tensor

    def __init__(self, n_trunks: int, n_species: int, n_latent: int, l_max: int, n_hidden: int) -> None:
        """`n_latent` (L) latent features, and L of each component of l = 0 to `l_max`; with -1 no more than those."""
        super().__init__()
        self.n_latent = n_latent
        self.l_max = l_max
        # Scripting reads no names of a module.
        self.log_range, self.anisotropy, self.feature_limit = LOG_RANGE, ANISOTROPY, FEATURE_LIMIT
        n_scalars = n_latent * (2 + l_max) + 1
        self.n_quadrupoles = n_latent if l_max > 1 else 0
        self.of_force = Perceptron(n_trunks, n_species, 1, N_HIDDEN_OF_FORCE, 2)
        self.forces = Perceptron(n_trunks, n_species, n_scalars, n_hidden, 2 + self.n_quadrupoles)
        self.energies = Perceptron(n_trunks, n_species, n_scalars, n_hidden, 1)
        for name, sizes in (
            ("log_force_variance", (n_species,)),
            ("log_energy_variance", (n_species,)),
            ("force_scale", (1,)),
            ("scalar_mean", (n_scalars,)),
            ("scalar_std", (n_scalars,)),
            ("quadrupole_scale", (self.n_quadrupoles,)),
        ):
            self.register_buffer(name, torch.ones((n_trunks, *sizes), dtype=torch.float64))
        coupling = o3.wigner_3j(1, 1, 2, dtype=torch.float64)  # [3, 3, 5], orthogonal matrices of norm 1 / sqrt(5)
        self.register_buffer("basis", coupling.permute(2, 0, 1).contiguous() * math.sqrt(5.0), persistent=False)

    def of_trunk(self, k: int) -> "NoiseHead":
        """That of trunk `k` alone."""
        n_species, n_hidden = self.forces.bias_1.shape[1:]
        single = NoiseHead(1, n_species, self.n_latent, self.l_max, n_hidden)
        single.load_state_dict({name: tensor[k : k + 1] for name, tensor in self.state_dict().items()})
        return single.requires_grad_(False)

    def forward(self, features: Tensor, types: Tensor, forces: Tensor) -> dict[str, Tensor]:
        """`features [T, N, F]`, `types [N]`, mean `forces [N, 3]` (eV/Å); see `mollifield.contract`."""
        features = features.to(torch.float64)
        scalars = self.standardised(self.scalars(features, forces))
        force_noise = self.covariance(scalars, self.quadrupoles(features, forces), types)
        return {"force_noise": force_noise, "energy_noise": self.energy_variance(scalars, types)}

    def scalars(self, features: Tensor, forces: Tensor) -> Tensor:
        """Invariants `[T, N, n_scalars]`: features of l = 0, sizes of those of each l > 0, logarithm of the force's.

        Features are those of `forward`, in float64.
        """
        n, n_trunks = self.n_latent, features.shape[0]
        found = [features.narrow(2, 0, n)]
        start = n
        for l in range(self.l_max + 1):
            width = 2 * l + 1
            of_l = features.narrow(2, start, width * n).unflatten(2, [width, n])
            found.append(of_l.squeeze(2) if l == 0 else of_l.square().sum(dim=2).sqrt())
            start += width * n
        scale = self.force_scale.square().unsqueeze(2)
        found.append(torch.log1p(forces.square().sum(dim=1, keepdim=True).expand(n_trunks, -1, -1) / scale))
        return torch.cat(found, dim=2)

    def standardised(self, scalars: Tensor) -> Tensor:
        """As those of the atoms that the head was trained on are."""
        z = (scalars - self.scalar_mean.unsqueeze(1)) / self.scalar_std.unsqueeze(1)
        return torch.nan_to_num(z).clamp(-self.feature_limit, self.feature_limit)

    def quadrupoles(self, features: Tensor, forces: Tensor) -> Tensor:
        """What may make a covariance anisotropic, `[T, N, 5, K]`: of the force's direction, then l = 2 features."""
        size = forces.square().sum(dim=1, keepdim=True)
        outer = torch.einsum("na,nb,kab->nk", forces, forces, self.basis)
        found = (outer / (size + self.force_scale[0].square())).unsqueeze(2).expand(features.shape[0], -1, -1, -1)
        if self.n_quadrupoles > 0:
            of_2 = features.narrow(2, 5 * self.n_latent, 5 * self.n_latent).unflatten(2, [5, self.n_latent])
            of_2 = torch.nan_to_num(of_2 / self.quadrupole_scale.unsqueeze(1).unsqueeze(2))
            bounded = of_2 / torch.sqrt(1.0 + of_2.square().sum(dim=2, keepdim=True) / self.feature_limit**2)
            found = torch.cat([found, bounded / math.sqrt(self.n_quadrupoles)], dim=3)
        return found

    def covariance(self, scalars: Tensor, quadrupoles: Tensor, types: Tensor) -> Tensor:
        """`[T, N, 3, 3]`, eV²/Å²."""
        out = self.forces(scalars, types)
        of_force = self.of_force(scalars.narrow(2, scalars.shape[2] - 1, 1), types)
        out = out + torch.nn.functional.pad(of_force, [0, self.n_quadrupoles])
        mixed = torch.einsum("tnkc,tnc->tnk", quadrupoles, out.narrow(2, 1, out.shape[2] - 1))
        mixed = mixed / torch.sqrt(1.0 + mixed.square().sum(dim=2, keepdim=True) / self.anisotropy**2)
        shape = torch.linalg.matrix_exp(torch.einsum("tnk,kab->tnab", mixed, self.basis))
        variance = self.log_force_variance.index_select(1, types) + self.bounded(out.select(2, 0))
        return variance.exp().unsqueeze(2).unsqueeze(3) * shape

    def energy_variance(self, scalars: Tensor, types: Tensor) -> Tensor:
        """`[T, N]`, eV²."""
        out = self.energies(scalars, types).squeeze(2)
        return (self.log_energy_variance.index_select(1, types) + self.bounded(out)).exp()

    def bounded(self, x: Tensor) -> Tensor:
        """A logarithm that is x where that is small, and within +-LOG_RANGE everywhere."""
        return self.log_range * torch.tanh(x / self.log_range)
