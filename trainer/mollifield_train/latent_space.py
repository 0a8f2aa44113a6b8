"""Where the training frames lie among a model's latent features: the file's measure of what is new."""

from collections.abc import Iterable, Sequence
from itertools import islice, takewhile

import torch
from torch import Tensor

from mollifield import contract

from .data.batches import Graph
from .data.graph_sets import GraphSet
from .farthest_points import farthest_points
from .model.protocol import Potential

N_FRAMES = 200
"""Training frames that are looked at, evenly spread over the data."""
N_ATOMS = 20_000
"""Fewer frames are looked at where they would have more atoms than this."""
N_REFERENCES = 256
"""Atoms of each species that are kept."""
VARIANCE_FLOOR = 1e-3
"""Of a direction of the features, over the mean variance of one: what training atoms share in directions where they
vary less is not trusted. 1e-4 and 1e-3 rank errors alike with 225 molecules, and 1e-3 better with 8 and 20."""
LEAST_EXTENT = 2.0
"""Root mean squares of deviations within which no atom is outside."""


def latent_space(potential: Potential, frames: GraphSet) -> dict[str, Tensor]:
    """Scale, references, reach and densities of `mollifield.contract`, from some of `frames` (`N_FRAMES`, `N_ATOMS`).

    The references of a species are `N_REFERENCES` of its atoms by farthest-point sampling, all of
    them where there are fewer.
    """
    n_atoms = sum(frame.n_atoms for frame in frames.frames) / len(frames)
    n_frames = min(N_FRAMES, len(frames), max(1, int(N_ATOMS / n_atoms)))
    chosen = torch.linspace(0, len(frames) - 1, n_frames).round().long().tolist()
    found = [_features(potential, frames[k]) for k in chosen]
    raw, types = torch.cat([features for features, _ in found]), torch.cat([types for _, types in found])
    scale = latent_scale(raw, types)
    features = raw * scale
    kept = []
    reach = torch.full((len(potential.species),), torch.inf, dtype=torch.float64)
    for species in types.unique().tolist():
        rows = torch.nonzero(types == species).flatten()
        kept.append(rows[farthest_atoms(features[rows], N_REFERENCES)])
        reach[species] = reach_of(features[kept[-1]])
    # A species of which one atom is known reaches as far as the others do.
    alone = torch.isinf(reach)
    reach[alone] = reach[~alone].max() if not alone.all() else contract.LATENT_REACH_FLOOR
    rows = torch.cat(kept)
    frame = torch.cat([torch.full((len(found_types),), k) for k, (_, found_types) in enumerate(found)])
    centre, whitening = normal_densities(features, types, frame, len(potential.species))
    return {
        contract.LATENT_SCALE: scale,
        contract.LATENT_REFERENCES: features[rows].to(torch.float32),
        contract.LATENT_TYPES: types[rows],
        contract.LATENT_REACH: reach,
        contract.LATENT_CENTRE: centre,
        contract.LATENT_WHITENING: whitening.to(torch.float32),
        contract.LATENT_FORCE_SCALE: 3.0**0.5 * potential.energy_scale.double().mean().reshape(1),
    }


def with_references(space: dict[str, Tensor], potential: Potential, frames: Sequence[Graph]) -> dict[str, Tensor]:
    """With atoms of further frames among the references: the fewest, farthest first, that leave none of them outside.

    The reach stays, and densities are widened to the farthest of these atoms, so that nothing is farther outside than
    before.
    """
    if contract.LATENT_REACH not in space:
        return space
    found = [_features(potential, graph) for graph in frames]
    features = torch.cat([features for features, _ in found]) * space[contract.LATENT_SCALE]
    types = torch.cat([types for _, types in found])
    references, known = space[contract.LATENT_REFERENCES], space[contract.LATENT_TYPES]
    whitening = space.get(contract.LATENT_WHITENING, torch.zeros(0)).clone()
    for species in types.unique():
        own = features[types == species]
        reach = float(space[contract.LATENT_REACH][species])
        points = farthest_points(own.numpy(), references[known == species].double().numpy())
        chosen = _beyond(points, reach)
        references = torch.cat([references, own[chosen].to(references.dtype)])
        known = torch.cat([known, torch.full((len(chosen),), int(species))])
        if len(whitening):
            lengths = (own - space[contract.LATENT_CENTRE][species]) @ whitening[species].double()
            whitening[species] /= max(1.0, 1.000001 * float(lengths.norm(dim=1).max()))  # rounding leaves none outside
    widened = {contract.LATENT_WHITENING: whitening} if len(whitening) else {}
    return space | {contract.LATENT_REFERENCES: references, contract.LATENT_TYPES: known} | widened


def _beyond(points: Iterable[tuple[int, float]], reach: float) -> list[int]:
    return [index for index, _ in takewhile(lambda point: point[1] > reach, points)]


def reach_of(references: Tensor) -> float:
    """`[n, F]` of one species -> largest distance to the nearest other, infinite for a single one.

    Left out of the references, each of them would have been that far from the rest at most.
    """
    distances = torch.cdist(references, references, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(torch.inf)
    return max(contract.LATENT_REACH_FLOOR, float(distances.amin(dim=1).max()))


def normal_densities(features: Tensor, types: Tensor, frame: Tensor, n_species: int) -> tuple[Tensor, Tensor]:
    """Scaled `features [n, F]` of atoms in frames `frame [n]` -> centres `[n_species, F]`, whitenings `[.., F, F]`.

    The length of a whitened deviation is a Mahalanobis distance (Lee et al., NeurIPS 2018, arXiv 1807.03888), here
    over the largest one that a training atom has from the density of those in the other half of the frames, or over
    `LEAST_EXTENT` root mean squares. A species with fewer than two atoms in either half has a whitening of zero.
    """
    n_features = features.shape[1]
    centre = torch.zeros(n_species, n_features, dtype=torch.float64)
    whitening = torch.zeros(n_species, n_features, n_features, dtype=torch.float64)
    for species in types.unique().tolist():
        rows = types == species
        own, halves = features[rows], [frame[rows] % 2 == half for half in (0, 1)]
        if min(int(half.sum()) for half in halves) < 2:
            continue
        extent = LEAST_EXTENT
        for half in halves:
            mean, white = _whitened(own[~half])
            extent = max(extent, float(((own[half] - mean) @ white).norm(dim=1).max()))
        centre[species], white = _whitened(own)
        whitening[species] = white / extent
    return centre, whitening


def _whitened(features: Tensor) -> tuple[Tensor, Tensor]:
    """`[n, F]` -> mean and `[F, F]`, after which deviations have a length of about 1 in root mean square."""
    n_features = features.shape[1]
    values, vectors = torch.linalg.eigh(torch.cov(features.T).reshape(n_features, n_features))
    return features.mean(dim=0), vectors / (values.clamp(min=0.0) * n_features + VARIANCE_FLOOR).sqrt()


def latent_scale(features: Tensor, types: Tensor) -> Tensor:
    """`features [n, F]` of atoms of `types [n]` -> `[F]`, see `mollifield.contract`.

    The floor keeps rounding from passing for a difference where all atoms of a species are alike.
    """
    deviation = features.clone()
    for species in types.unique():
        rows = types == species
        deviation[rows] -= features[rows].mean(dim=0)
    std = deviation.square().mean(dim=0).sqrt()
    largest = max(float(std.max()), float(features.square().mean(dim=0).sqrt().max()))
    std = std.clamp(min=contract.LATENT_STD_FLOOR * largest) if largest > 0.0 else torch.ones_like(std)
    return 1.0 / (std * features.shape[1] ** 0.5)


def farthest_atoms(features: Tensor, n: int) -> Tensor:
    """Indices of `n` rows of `features [n_atoms, F]`: the one farthest from the mean, then each time the
    one farthest from all that were chosen before."""
    if len(features) <= n:
        return torch.arange(len(features))
    first = int((features - features.mean(dim=0)).norm(dim=1).argmax())
    return torch.tensor([index for index, _ in islice(farthest_points(features.numpy(), first=first), n)])


def _features(potential: Potential, graph: Graph) -> tuple[Tensor, Tensor]:
    """Unscaled features `[N, F]` (float64) and types `[N]` of a frame."""
    vectors = graph.edge_vectors.to(potential.dtype)[None]
    with torch.no_grad():
        latent = potential(vectors, graph.edge_index, graph.types)[contract.LATENT]
    return latent.to(torch.float64).permute(1, 0, 2).flatten(1), graph.types
