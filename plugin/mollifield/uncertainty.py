"""From the members' outputs to means, standard deviations and covariances.

A committee of M members samples the posterior; its spread is the *epistemic* uncertainty. Sample
statistics (ddof = 1) are used throughout; a committee of one has none, and says so. Where members agree
because nothing was ever taught (an atom whose surroundings no training atom resembles), the file's
latent space adds what the spread cannot know: `mollifield.contract`, LATENT_REACH and FORCE_FLOOR. So do energies of
compositions that the training frames do not determine: UNDETERMINED_COMPOSITIONS_KEY.
The noise of labels, *aleatoric*, is no part of it: a file states it by species, or has a head that tells it atom by
atom.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import contract
from .artefact import Artefact
from .calibration import Array
from .potential import Evaluation


@dataclass(frozen=True)
class Spread:
    """The epistemic uncertainty of one frame of N atoms, calibrated by the tables of the file."""

    energy_std: float
    """eV, of the total energy."""
    forces_cov: Array
    """[N, 3, 3], eV²/Å²; turns with the frame."""
    forces_std: Array
    """[N], eV/Å: sqrt of the trace of `forces_cov`."""
    outside: Array
    """[N], eV/Å: what `forces_std` holds, in quadrature, for being outside of the training data; 0 inside."""
    distance: Array
    """[N]: relative distances to the training data; above 1 an atom is outside. 0 where the file states no reach."""
    composition_std: float
    """eV: what `energy_std` holds, in quadrature, for a composition that the training frames do not determine."""

    @property
    def epistemic_std(self) -> Array:
        """`forces_std`, by the name that tells it from the noise of labels."""
        return self.forces_std


def spread(artefact: Artefact, out: Evaluation) -> Spread:
    """From the members' outputs (`evaluate(..., members=True)`) to standard deviations.

    Raises `ValueError` for a model of one member.
    """
    calibration, types = artefact.calibration, out.types.cpu().numpy()
    relative = relative_distance(artefact.latent_space, out.latent, out.types)
    distance, outside = relative.cpu().numpy(), _std_at(artefact.latent_space, relative).cpu().numpy()
    composition = composition_std(artefact.undetermined_compositions, out.types)
    energy = calibration.energy_std(float(energy_std(out.energies.cpu().numpy())), len(types))
    energy_far = [calibration.energy_floor_std(distance), composition, *outside]
    covariance = forces_covariance(out.forces.cpu().numpy())
    raw = forces_std(covariance)
    factors = np.divide(calibration.force_std(raw, types), raw, out=np.zeros_like(raw), where=raw > 0.0)
    far = outside**2 + calibration.force_floor_std(distance, types) ** 2
    covariance = covariance * factors[:, None, None] ** 2 + (far / 3.0)[:, None, None] * np.eye(3)
    return Spread(
        energy_std=float(np.linalg.norm([energy, *energy_far])),
        forces_cov=covariance,
        forces_std=forces_std(covariance),
        outside=outside,
        distance=distance,
        composition_std=composition,
    )


@dataclass(frozen=True)
class Aleatoric:
    """The noise of the labels of one frame of N atoms."""

    energy_std: float
    """eV, of the total energy."""
    forces_cov: Array
    """[N, 3, 3], eV²/Å²; turns with the frame."""
    forces_std: Array
    """[N], eV/Å: sqrt of the trace of `forces_cov`."""


def aleatoric(artefact: Artefact, out: Evaluation) -> Aleatoric | None:
    """Of a noise head, the mean over trunks of what each says; else of the file's numbers. None where there are none.

    An evaluation without `members` is enough. With the spread it makes up the whole: by the law of total variance the
    covariances of both add up.
    """
    types = out.types.cpu().numpy()
    if artefact.has_noise_head:
        features = out.latent if out.noise_features is None else out.noise_features
        with torch.no_grad():
            found = artefact.module.noise(features, out.types, out.forces.mean(0))
        variance = float(found[contract.ENERGY_NOISE].mean(0).sum())
        covariance = found[contract.FORCE_NOISE].mean(0).cpu().numpy()
        return Aleatoric(variance**0.5, covariance, forces_std(covariance))
    calibration = artefact.calibration
    if calibration.force_noise is None:
        return None
    stds = calibration.force_noise[types]
    covariance = (stds**2 / 3.0)[:, None, None] * np.eye(3)
    return Aleatoric(calibration.energy_noise * len(types), covariance, stds)


def require_committee(n_members: int) -> None:
    """Raise `ValueError` when there is no spread to speak of."""
    if n_members < 2:
        raise ValueError("a standard deviation needs a committee of at least 2 members; this model has 1")


def energy_std(energies: Array) -> Array:
    """`energies [M, ...]` (eV) -> sample standard deviation over members `[...]` (eV)."""
    require_committee(len(energies))
    return np.std(energies, axis=0, ddof=1)


def forces_covariance(forces: Array) -> Array:
    """`forces [M, N, 3]` (eV/Å) -> 3x3 sample covariance of each atom `[N, 3, 3]` (eV²/Å²).

    C_i = 1/(M-1) sum_m (F_mi - F_i)(F_mi - F_i)^T, which turns with the frame: R C R^T.
    """
    require_committee(len(forces))
    deviation = forces - forces.mean(axis=0)
    return np.einsum("mia,mib->iab", deviation, deviation) / (len(forces) - 1)


def forces_std(covariance: Array) -> Array:
    """`[N, 3, 3]` -> sqrt(trace) of each `[N]` (eV/Å), the invariant size of the spread."""
    return np.sqrt(np.trace(covariance, axis1=-2, axis2=-1))


def latent_features(latent_space: dict[str, Tensor], latent: Tensor) -> Tensor:
    """`latent [T, N, L]` -> scaled features `[N, T * L]` float64 of `mollifield.contract`."""
    features = latent.to(torch.float64).permute(1, 0, 2).flatten(1)
    if contract.LATENT_SCALE not in latent_space:
        return features / features.shape[1] ** 0.5
    return features * latent_space[contract.LATENT_SCALE].to(features.device)


def latent_distance(latent_space: dict[str, Tensor], latent: Tensor, types: Tensor) -> Tensor:
    """`latent [T, N, L]` and `types [N]` -> `[N]` distances to the nearest training atom of the species.

    Infinite for a species without references. Raises `ValueError` for a model without any.
    """
    if contract.LATENT_REFERENCES not in latent_space:
        raise ValueError("this model file has no latent references; export it again with its training frames")
    features = latent_features(latent_space, latent)
    references = latent_space[contract.LATENT_REFERENCES].to(features)
    types, known = types.to(features.device), latent_space[contract.LATENT_TYPES].to(features.device)
    found = torch.full((len(features),), torch.inf, dtype=features.dtype, device=features.device)
    for species in known.unique():
        rows = types == species
        # Without the matrix product, which loses the digits of small distances.
        distances = torch.cdist(
            features[rows], references[known == species], compute_mode="donot_use_mm_for_euclid_dist"
        )
        found[rows] = distances.amin(dim=1)
    return found


def outside_std(latent_space: dict[str, Tensor], latent: Tensor, types: Tensor) -> Tensor:
    """`latent [T, N, L]` and `types [N]` -> `[N]` eV/Å, the f of LATENT_REACH in `mollifield.contract`.

    Zero inside of the training data, and in files that do not state their reach.
    """
    return _std_at(latent_space, relative_distance(latent_space, latent, types))


def _std_at(latent_space: dict[str, Tensor], distance: Tensor) -> Tensor:
    """Relative distances `[N]` -> `[N]` eV/Å."""
    if contract.LATENT_REACH not in latent_space:
        return torch.zeros_like(distance)
    scale = latent_space[contract.LATENT_FORCE_SCALE].to(distance)
    return scale * (distance - 1.0).clamp(min=0.0).square().clamp(max=contract.OUTSIDE_LIMIT)


def relative_distance(latent_space: dict[str, Tensor], latent: Tensor, types: Tensor) -> Tensor:
    """`latent [T, N, L]` and `types [N]` -> `[N]`, see LATENT_CENTRE in `mollifield.contract`.

    Above 1 an atom is outside of the training data.
    """
    if contract.LATENT_REACH not in latent_space:
        return torch.zeros(latent.shape[1], dtype=torch.float64, device=latent.device)
    distance = latent_distance(latent_space, latent, types)
    reach = latent_space[contract.LATENT_REACH].to(distance)[types.to(distance.device)]
    found = torch.where(reach.isfinite(), distance / reach, 0.0)
    if contract.LATENT_WHITENING in latent_space:
        found = torch.maximum(found, _deviation(latent_space, latent_features(latent_space, latent), types))
    return found.clamp(max=contract.LATENT_FARTHEST)


def _deviation(latent_space: dict[str, Tensor], features: Tensor, types: Tensor) -> Tensor:
    """Scaled `features [N, F]` -> `[N]` lengths in the whitened space of each atom's species."""
    types = types.to(features.device)
    centre, whitening = (latent_space[key].to(features) for key in (contract.LATENT_CENTRE, contract.LATENT_WHITENING))
    found = torch.zeros_like(features[:, 0])
    for species in types.unique():
        rows = types == species
        found[rows] = ((features[rows] - centre[species]) @ whitening[species]).norm(dim=1)
    return found


class Outside(NamedTuple):
    """What lies beyond the training data of one frame of N atoms."""

    atoms: NDArray[np.bool_]
    """[N]: whether no training atom resembles this one; nowhere in files that do not state their reach."""
    energy: bool
    """Whether an atom is outside, or the training frames do not determine the energy of this composition."""


def outside(artefact: Artefact, out: Evaluation, found: Spread | None = None) -> Outside:
    """`found`: the spread of the same frame where it is at hand, which has the distances."""
    if found is not None:
        distance, composition = found.distance, found.composition_std
    else:
        distance = relative_distance(artefact.latent_space, out.latent, out.types).cpu().numpy()
        composition = composition_std(artefact.undetermined_compositions, out.types)
    atoms = np.asarray(distance > 1.0)
    return Outside(atoms, bool(atoms.any()) or composition > 0.0)


def composition_std(undetermined: Tensor, types: Tensor) -> float:
    """Rows `[k, n_species]` of UNDETERMINED_COMPOSITIONS_KEY and `types [N]` of a frame -> eV; 0: it is determined."""
    counts = torch.bincount(types.to(undetermined.device), minlength=undetermined.shape[1]).to(undetermined)
    missed = undetermined @ counts
    seen = missed.abs() <= contract.COMPOSITION_TOLERANCE * undetermined.norm(dim=1) * len(types)
    return float(torch.where(seen, 0.0, missed).norm())
