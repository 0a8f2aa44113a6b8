"""From a model file to one with samples of a posterior, and from that to one that has taken in further frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from torch import Tensor

from mollifield import contract, load_artefact
from mollifield.artefact import Artefact, read_posterior, read_trained

from ..data.batches import Graph, build_graphs
from ..data.frames import Frame, Reading
from ..evaluate import bound_frames
from ..export import export, noise_head_of
from ..latent_space import with_references
from ..model.noise_head import NoiseHead
from ..model.protocol import LastLayered, LastLayeredPotential, Potential
from ..model.samples import member_state, one_member, rebuilt
from ..training.members import load_members, pack
from . import KINDS
from .draws import affine_basis, antithetic
from .features import FrameFeatures, features_of
from .last_layer import Noise, Posterior, noise_of, posterior_of, updated

N_ATOMS = 20_000
"""Of more frames than have as many atoms, a part that is evenly spread stands for all."""


@dataclass(frozen=True)
class Made:
    """What a file was made of."""

    posterior: Posterior
    n_frames: int
    """That were looked at."""
    n_given: int


@dataclass(frozen=True)
class _Source:
    """A model file, and the trained model in it that has one member."""

    artefact: Artefact
    model: LastLayeredPotential
    trained: dict[str, Any]
    """Of the exported file that is made of it."""
    noise_head: NoiseHead | None
    """Of this member."""

    def double(self) -> LastLayeredPotential:
        """The same model in float64."""
        return rebuilt(self.model, member_state(self.model), dtype=torch.float64)

    def graphs(self, frames: Sequence[Frame]) -> list[Graph]:
        """As `graphs_for`."""
        return graphs_for(self.artefact, frames)


def graphs_for(artefact: Artefact, frames: Sequence[Frame]) -> list[Graph]:
    """Raises ValueError that names the frame, for a species that the model does not know."""
    unknown = ((f, s) for f in frames for s in f.symbols if s not in artefact.species)
    for frame, symbol in unknown:
        raise ValueError(f"{frame.origin}: has {symbol}; this model knows {', '.join(artefact.species)}")
    return build_graphs(frames, artefact.species, artefact.r_max)


def make_posterior(
    model: str | Path,
    frames: str | Path | Sequence[str | Path],
    output: str | Path,
    kind: str = "laplace",
    n_samples: int = 16,
    member: int = 0,
    seed: int = 0,
    noise_frames: Sequence[str | Path] = (),
    reading: Reading | None = None,
) -> Made:
    """Write `output`: `n_samples` last layers on the trunk of one member of a trained model.

    `frames`: those that it was trained on. `noise_frames`: labelled ones whose errors tell the noise; without them
    `frames` do. Raises ValueError for a file that does not hold the weights as trained, an unknown kind, an odd
    number of samples, an unknown species, and frames without forces.
    """
    if kind not in KINDS and "." not in kind:
        raise ValueError(f"posterior '{kind}' isn't known; known are {', '.join(KINDS)}")
    if n_samples < 2 or n_samples % 2:
        raise ValueError(f"{n_samples} samples; allowed are even numbers from 2, as they come in pairs")
    source = _read_source(model, member)
    given = bound_frames(frames, reading)
    chosen = evenly_spread(given)
    graphs, double = source.graphs(chosen), source.double()
    found = features_of(double, graphs)
    of_noise = found
    if noise_frames:
        of_noise = features_of(double, source.graphs(evenly_spread(bound_frames(noise_frames, reading))), "noise")
    posterior = posterior_of(found, noise_of(of_noise, len(double.species)), double.last_layer_weights())
    posterior = _standing_for(posterior, len(given) / len(chosen))
    facts = {"kind": kind, "n_samples": n_samples, "seed": seed, "frames": sorted(f.content for f in given)}
    samples = _samples(posterior, facts, found)
    _write(source, output, posterior, facts, samples, training_frames=graphs)
    return Made(posterior, len(chosen), len(given))


def update_posterior(
    model: str | Path, frames: str | Path | Sequence[str | Path], output: str | Path, reading: Reading | None = None
) -> Made:
    """Write `output`: the posterior of `model` with further labelled frames taken in, and new samples of it.

    Calibration stays, references of the latent space are added to. Raises ValueError for a file without a posterior, a
    kind that cannot be updated, and frames that it has already taken in.
    """
    source = _read_source(model, 0)
    kept = read_posterior(source.artefact)
    if kept is None:
        raise ValueError(f"{model}: holds no posterior to update; make one with `mollifield posterior`")
    facts, state = kept
    kind = KINDS.get(facts["kind"])  # never by an import path, which the file would choose
    if kind is None or kind.looks_at_frames:
        why = "is no kind of this release" if kind is None else "depends on all frames at once"
        raise ValueError(
            f"{model}: a posterior of kind {facts['kind']} {why}: make it again with `mollifield posterior`"
        )
    given = bound_frames(frames, reading)
    known = set(facts["frames"])
    for frame in given:
        if frame.content in known:
            raise ValueError(f"{frame.origin}: the posterior of {model} has taken it in already")
    graphs = source.graphs(given)
    found = features_of(source.double(), graphs)
    posterior = updated(_unpacked(state), found)
    facts |= {"frames": sorted(known | {frame.content for frame in given})}
    space = with_references(source.artefact.latent_space, source.model, graphs)
    calibration = dict(getattr(source.artefact.whole, contract.CALIBRATION_KEY))
    _write(source, output, posterior, facts, _samples(posterior, facts, found), space=space, calibration=calibration)
    return Made(posterior, len(given), len(given))


def _read_source(path: str | Path, member: int) -> _Source:
    artefact = load_artefact(path)
    trained = read_trained(artefact)
    if trained is None:
        raise ValueError(
            f"{path}: a model file without the weights as they were trained (exported by an earlier release, or from "
            "no run); export its run again"
        )
    model = load_members(path)
    if model.shared_trunk:
        raise ValueError(f"{path}: its members are heads on one trunk, none of which was trained to be right by itself")
    if not 0 <= member < model.n_members:
        raise ValueError(f"{path} has no member {member}; allowed: 0 to {model.n_members - 1}")
    single: Potential = one_member(model, member)
    if not isinstance(single, LastLayered):
        raise ValueError(f"{path}: architecture '{single.architecture.settings.kind}' has no last layer to sample")
    head = noise_head_of(artefact)
    if head is not None and not artefact.shared_trunk:
        head = head.of_trunk(member)
    return _Source(artefact, single, trained[0] | {"potential": pack(single)}, head)


def evenly_spread(frames: Sequence[Frame]) -> list[Frame]:
    """All of them, or as many as have `N_ATOMS` atoms."""
    n_atoms = sum(len(frame.numbers) for frame in frames)
    n = max(1, min(len(frames), int(len(frames) * N_ATOMS / n_atoms)))
    return [frames[k] for k in torch.linspace(0, len(frames) - 1, n).round().long().tolist()]


def _standing_for(posterior: Posterior, factor: float) -> Posterior:
    """As if there were `factor` times as many frames."""
    if factor == 1.0:
        return posterior
    identity = posterior.prior * torch.eye(len(posterior.mean), dtype=torch.float64)
    precision = (posterior.precision - identity) * factor + identity
    return Posterior(precision, posterior.mean, posterior.noise, posterior.prior)


def _samples(posterior: Posterior, facts: dict[str, Any], found: Sequence[FrameFeatures]) -> Tensor:
    """`[S, F]`, distances from the trained weights."""
    generator = torch.Generator().manual_seed(facts["seed"])
    half = KINDS[facts["kind"]].draw(posterior, found, facts["n_samples"] // 2, generator)
    return posterior.mean + antithetic(half)


def _write(
    source: _Source,
    output: str | Path,
    posterior: Posterior,
    facts: dict[str, Any],
    samples: Tensor,
    training_frames: Sequence[Graph] = (),
    space: dict[str, Tensor] | None = None,
    calibration: dict[str, Tensor] | None = None,
) -> None:
    artefact = source.artefact
    noise = {
        contract.FORCE_NOISE_STD: posterior.noise.forces,
        contract.ENERGY_NOISE_STD: torch.tensor([posterior.noise.energy], dtype=torch.float64),
    }
    stated = {key: facts[key] for key in ("kind", "n_samples", "seed")} | {"n_frames": len(facts["frames"])}
    export(
        source.model.sampled(source.model.last_layer_weights() + samples),
        output,
        frames_of_reference(artefact),
        artefact.summary | {"posterior": stated},
        (calibration or {}) | noise,
        training_frames=training_frames,
        labels=artefact.labels,
        undetermined_species=artefact.undetermined_species,
        undetermined_compositions=artefact.undetermined_compositions.cpu(),
        trained=source.trained,
        posterior=facts | {"state": _packed(posterior)},
        basis=affine_basis(samples),
        space=space,
        noise_head=source.noise_head,
    )


def _packed(posterior: Posterior) -> dict[str, Tensor]:
    return {
        "precision": posterior.precision,
        "mean": posterior.mean,
        "force_noise": posterior.noise.forces,
        "energy_noise": torch.tensor([posterior.noise.energy], dtype=torch.float64),
        "prior": torch.tensor([posterior.prior], dtype=torch.float64),
    }


def _unpacked(state: dict[str, Tensor]) -> Posterior:
    noise = Noise(float(state["energy_noise"]), state["force_noise"])
    return Posterior(state["precision"], state["mean"], noise, float(state["prior"]))


def frames_of_reference(artefact: Artefact) -> list[Atoms]:
    """Of the reference frames, the geometry."""
    return [
        Atoms(
            [artefact.species[k] for k in frame[contract.REF_TYPES].tolist()],
            positions=frame[contract.REF_POSITIONS].numpy(),
            cell=frame[contract.REF_CELL].numpy(),
            pbc=frame[contract.REF_PBC].numpy(),
        )
        for frame in artefact.reference_frames
    ]
