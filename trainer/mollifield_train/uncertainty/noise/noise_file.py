"""From a model file to one that states the noise of the labels too."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mollifield import contract, load_artefact
from mollifield.artefact import Artefact, read_posterior, read_trained

from ...data.frames import Reading
from ...evaluate import bound_frames, seen_frames
from ...export import export
from ...model.protocol import LastLayered, Potential, Tabulable
from ...model.samples import member_state, rebuilt, tensors_of_members
from ...training.members import load_members
from ..posterior_file import evenly_spread, frames_of_reference, graphs_for
from . import KINDS, Fitted
from .residuals import residuals_of


@dataclass(frozen=True)
class Made:
    """What a file was made of."""

    fitted: Fitted
    species: list[str]
    n_frames: int
    """That were looked at."""
    n_given: int
    n_trained: int
    """Of those given, that the model was trained on."""


def make_noise(
    model: str | Path,
    frames: str | Path | Sequence[str | Path],
    output: str | Path,
    kind: str = "head",
    seed: int = 0,
    reading: Reading | None = None,
) -> Made:
    """Write `output`: the same model, and the noise of the labels of `frames`, which it is best not trained on.

    Nothing of the model changes. What the file said of noise before is replaced. Raises ValueError for a file that
    does not hold the weights as trained, an unknown kind or species, and too few frames.
    """
    if kind not in KINDS:
        raise ValueError(f"noise '{kind}' isn't known; known are {', '.join(KINDS)}")
    artefact = load_artefact(model)
    kept, trained = read_posterior(artefact), read_trained(artefact)
    potential = model_in(artefact)
    given = bound_frames(frames, reading)
    chosen = evenly_spread(given)
    fitted = KINDS[kind](residuals_of(potential, artefact, graphs_for(artefact, chosen)), seed)
    tables = {
        contract.FORCE_NOISE_STD: fitted.noise.forces,
        contract.ENERGY_NOISE_STD: torch.tensor([fitted.noise.energy], dtype=torch.float64),
    }
    export(
        potential,
        output,
        frames_of_reference(artefact),
        artefact.summary | {"noise": {"kind": kind, "n_frames": len(chosen), "seed": seed}},
        dict(getattr(artefact.whole, contract.CALIBRATION_KEY)) | tables,
        labels=artefact.labels,
        undetermined_species=artefact.undetermined_species,
        undetermined_compositions=artefact.undetermined_compositions.cpu(),
        trained=None if trained is None else _with_state(trained),
        posterior=None if kept is None else kept[0] | {"state": kept[1]},
        basis=artefact.basis,
        space=artefact.latent_space,
        noise_head=fitted.head,
    )
    known = seen_frames(artefact)
    return Made(fitted, artefact.species, len(chosen), len(given), sum(frame.content in known for frame in given))


def model_in(artefact: Artefact) -> Potential:
    """That of a file as it was before it was exported; raises ValueError for a file without the trained weights.

    Samples of a posterior, and passes with dropout, are more than the trained members that they were made of: the file
    itself has what they differ in.
    """
    model = load_members(artefact.path)
    if model.n_members == artefact.n_members:
        return model
    copies = _copies(model, artefact)
    state, stated = member_state(copies), artefact.whole.state_dict()
    # In the place of radial networks a file may have tables, which are the trained members'.
    needed = member_state(copies.tabulated(2)) if isinstance(copies, Tabulable) and copies.can_tabulate() else state
    for name in tensors_of_members(copies):
        if f"potential.{name}" in stated:
            state[name].copy_(stated[f"potential.{name}"])
        elif name in needed:
            raise ValueError(f"{artefact.path}: has no tensor '{name}' of its {artefact.n_members} members")
    return copies


def _copies(model: Potential, artefact: Artefact) -> Potential:
    """As many as the file has members, on one trunk or the same number of each."""
    n_members = artefact.n_members
    if artefact.shared_trunk and isinstance(model, LastLayered):
        return model.sampled(model.last_layer_weights().expand(n_members, -1))
    repeats = n_members // model.n_members
    state = {name: tensor.repeat_interleave(repeats, dim=0) for name, tensor in member_state(model).items()}
    return rebuilt(model, state, n_members=n_members)


def _with_state(trained: tuple[dict, dict]) -> dict:
    facts, state = trained
    return facts | {"potential": facts["potential"] | {"state": state}}
