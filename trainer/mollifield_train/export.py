"""Trained members into one file that both engines run."""

import copy
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from e3nn.util.jit import script
from torch import Tensor, nn

from mollifield import contract, load_artefact
from mollifield.artefact import (
    POSTERIOR_FACTS_KEY,
    POSTERIOR_STATE_KEY,
    TRAINING_FACTS_KEY,
    TRAINING_STATE_KEY,
    Artefact,
    save_artefact,
)
from mollifield.calibration import tables_of
from mollifield.gradients import Basis, differentiate, forces_of, virial_of

from .data.batches import Graph, build_graphs
from .data.frames import Frame
from .data.graph_sets import GraphSet, InMemory
from .latent_space import latent_space
from .model.noise_head import NoiseHead
from .model.protocol import NoiseFeatured, Potential, Staged, Tabulable, TabulablePotential
from .model.samples import member_state, rebuilt, stack_members, tensors_of_members

SPLINE_FORCE_LIMIT = 1e-4
"""eV/Å: a file whose splines change a force component of a reference frame by more is refused."""


class ExportedPotential(nn.Module):
    """The model with the attributes that `mollifield.contract` asks of a file."""

    calibration: dict[str, Tensor]
    reference_frames: list[dict[str, Tensor]]
    member_tensors: list[str]
    latent_space: dict[str, Tensor]
    labels: list[str]
    undetermined_species: list[str]
    undetermined_compositions: Tensor
    training_state: dict[str, Tensor]
    training_facts: str
    posterior_state: dict[str, Tensor]
    posterior_facts: str
    basis: Tensor
    mixing: Tensor

    def __init__(
        self,
        potential: Potential,
        calibration: dict[str, Tensor],
        reference_frames: list[dict[str, Tensor]],
        latent_space: dict[str, Tensor],
        labels: Sequence[str] | None = None,
        undetermined_species: Sequence[str] | None = None,
        trained: Mapping[str, Any] | None = None,
        posterior: Mapping[str, Any] | None = None,
        basis: Basis | None = None,
        undetermined_compositions: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.potential: Any = potential  # stages are asked for by name, where it has them
        shared = potential.shared_trunk
        self.format_version: int = contract.FORMAT_VERSION if shared else contract.SEPARATE_VERSION
        self.species: list[str] = list(potential.species)
        self.r_max: float = potential.r_max
        self.n_layers: int = potential.n_layers
        self.n_members: int = potential.n_members
        self.dtype: str = str(potential.dtype).removeprefix("torch.")
        self.calibration = calibration
        self.shared_trunk: bool = shared
        self.reference_frames = reference_frames
        self.latent_space = latent_space
        if labels is not None:
            self.labels = list(labels)
        if undetermined_species is not None:
            self.undetermined_species = list(undetermined_species)
        if undetermined_compositions is not None:
            self.undetermined_compositions = undetermined_compositions
        if trained is not None:
            packed = dict(trained["potential"])
            setattr(self, TRAINING_STATE_KEY, packed.pop("state"))
            setattr(self, TRAINING_FACTS_KEY, json.dumps({**trained, "potential": packed}))
        if posterior is not None:
            facts = dict(posterior)
            setattr(self, POSTERIOR_STATE_KEY, facts.pop("state"))
            setattr(self, POSTERIOR_FACTS_KEY, json.dumps(facts))
        if basis is not None:
            setattr(self, contract.BASIS_KEY, torch.tensor(basis.members))
            setattr(self, contract.MIXING_KEY, basis.mixing)
        self.member_tensors = [f"potential.{name}" for name in tensors_of_members(potential)]

    def forward(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """See `mollifield.contract`."""
        return self.potential(edge_vectors, edge_index, types)


class ExportedStages(ExportedPotential):
    """One that runs layer by layer as well."""

    @torch.jit.export
    def embed(self, edge_vectors: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The stages of `forward`, see `mollifield.contract`."""
        return self.potential.embed(edge_vectors, types)

    @torch.jit.export
    def send(self, k: int, x: Tensor) -> Tensor:
        """See `mollifield.contract`."""
        return self.potential.send(k, x)

    @torch.jit.export
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
        """See `mollifield.contract`."""
        return self.potential.receive(k, sent, x, harmonics, lengths, basis, edge_index, types)

    @torch.jit.export
    def read(self, x: Tensor, lengths: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """See `mollifield.contract`."""
        return self.potential.read(x, lengths, edge_index, types)


class Noisy(ExportedPotential):
    """One with a noise head, whose tensors are the members' too where there is a trunk for each."""

    def hold(self, head: NoiseHead) -> None:
        """Once it is made."""
        self.noise_head = head
        self.member_tensors += [f"noise_head.{n}" for n, t in head.state_dict().items() if len(t) == self.n_members]

    @torch.jit.export
    def noise(self, features: Tensor, types: Tensor, forces: Tensor) -> dict[str, Tensor]:
        """See `mollifield.contract`."""
        return self.noise_head(features, types, forces)


class NoisyStages(Noisy, ExportedStages):
    """Layer by layer as well."""


def export(
    models: Potential | Sequence[Potential],
    path: str | Path,
    reference_frames: Sequence[Atoms] | Sequence[Graph],
    summary: dict[str, Any] | None = None,
    calibration: Mapping[str, Tensor] | Mapping[str, float] | None = None,
    splines: bool = True,
    training_frames: Sequence[Atoms] | Sequence[Graph] = (),
    labels: Sequence[str] | None = None,
    undetermined_species: Sequence[str] | None = None,
    trained: Mapping[str, Any] | None = None,
    posterior: Mapping[str, Any] | None = None,
    space: dict[str, Tensor] | None = None,
    basis: Basis | None = None,
    undetermined_compositions: Tensor | None = None,
    noise_head: NoiseHead | None = None,
) -> None:
    """Write `model.pt`, having checked that the exported model equals the eager one.

    With `splines` (where the architecture and its backend have them) radial networks are replaced by spline tables,
    see `tabulate`; the error this makes is written into the summary.

    `models`: one model or the members to be stacked. `reference_frames`: at least one; a few
    small frames, which every engine recomputes when it loads the file. Frames may come as graphs that were made for
    this model, whose edges are then searched no more.
    `calibration`: tables, or numbers for all species (`mollifield.calibration.tables_of`). `training_frames`:
    what the members were trained on; without them the file has no latent references but those of `space`. `labels`,
    `undetermined_species`, `undetermined_compositions`: see `contract`; None where it is not known. `trained`: what
    members.pt says, plain values but for the state, so that another training may begin from the file; None for a file
    that none can begin from. `posterior`: the same of what the members were drawn from (`uncertainty.last_layer`).
    `basis`: of samples on one trunk whose energies are linear in one another. `noise_head`:
    one that was trained on this model's features (`uncertainty.noise`).
    Raises `ValueError` when there is no reference frame, when no spline is good enough, and when the written file
    disagrees with the eager model.
    """
    potential = stack_members(models) if isinstance(models, Sequence) else models
    if not reference_frames:
        raise ValueError("an exported model needs at least one reference frame")
    potential = copy.deepcopy(potential).cpu().eval()
    summary = dict(summary or {})
    references = graphs_of(reference_frames, potential)
    if splines and isinstance(potential, Tabulable) and potential.can_tabulate():
        potential, summary["splines"] = tabulate(potential, references)
    frames = [_reference_frame(potential, graph) for graph in references]
    if training_frames:
        space = latent_space(potential, graphs_of(training_frames, potential))
    tables = tables_of(calibration or {}, len(potential.species))
    wrapper = _wrapper(isinstance(potential, Staged), noise_head is not None)
    wrapped = wrapper(
        *(potential, tables, frames, space or {}, labels, undetermined_species, trained, posterior, basis),
        undetermined_compositions=undetermined_compositions,
    )
    if isinstance(wrapped, Noisy) and noise_head is not None:
        if isinstance(potential, NoiseFeatured):
            potential.give_noise_features()
        wrapped.hold(noise_head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch deprecates TorchScript
        warnings.filterwarnings("ignore", "The TorchScript type system")  # e3nn's annotations
        scripted = script(wrapped)
    save_artefact(scripted, path, summary)
    load_artefact(path)  # recomputes the eager model's numbers, or raises


def _wrapper(staged: bool, noisy: bool) -> type[ExportedPotential]:
    if noisy:
        return NoisyStages if staged else Noisy
    return ExportedStages if staged else ExportedPotential


def noise_head_of(artefact: Artefact) -> NoiseHead | None:
    """The one in a model file, to go on with."""
    if not artefact.has_noise_head:
        return None
    stated = artefact.whole.noise_head
    state = stated.state_dict()
    n_trunks, n_species, n_hidden = state["forces.bias_1"].shape
    head = NoiseHead(n_trunks, n_species, stated.n_latent, stated.l_max, n_hidden)
    head.load_state_dict({name: state[name] for name in head.state_dict()})
    return head.requires_grad_(False)


def graphs_of(frames: Iterable[Atoms | Graph], potential: Potential) -> GraphSet:
    """Frames with their edges within the model's cutoff; graphs have them already."""
    if isinstance(frames, GraphSet):
        return frames
    graphs: list[Graph] = []
    for k, frame in enumerate(frames):
        if isinstance(frame, Atoms):
            unlabelled = Frame.unlabelled(frame, f"frame {k}")
            graphs += build_graphs([unlabelled], potential.species, potential.r_max)
        else:
            graphs.append(frame)
    return InMemory(graphs)


def tabulate(potential: TabulablePotential, frames: Sequence[Graph]) -> tuple[Potential, dict[str, float]]:
    """The model with spline tables, and what that changes on `frames`.

    Knots are doubled from 128 until forces are within a tenth of `SPLINE_FORCE_LIMIT`, to 2048; the
    errors are the largest over frames, members and atoms, in float64 (eV/Å; energies in eV/atom). Raises
    `ValueError` when 2048 knots leave more than the limit.
    """
    # What is asked is the table's error alone.
    double = rebuilt(potential, member_state(potential), dtype=torch.float64)
    exact = [_reference_frame(double, graph) for graph in frames]
    for n_knots in (128, 256, 512, 1024, 2048):
        model = double.tabulated(n_knots)
        force_error = energy_error = 0.0
        for graph, reference in zip(frames, exact, strict=True):
            found = _reference_frame(model, graph)
            difference = {
                key: float((found[key] - reference[key]).abs().max())
                for key in (contract.REF_FORCES, contract.REF_ENERGIES)
            }
            force_error = max(force_error, difference[contract.REF_FORCES])
            energy_error = max(energy_error, difference[contract.REF_ENERGIES] / graph.n_atoms)
        if force_error < 0.1 * SPLINE_FORCE_LIMIT:
            break
    if not force_error <= SPLINE_FORCE_LIMIT:
        raise ValueError(
            f"splines of {n_knots} knots change forces by {force_error * 1e3:.3g} meV/Å; allowed is "
            f"{SPLINE_FORCE_LIMIT * 1e3:.3g}. Export without splines"
        )
    return potential.tabulated(n_knots), {
        "n_knots": n_knots,
        "max_force_error": force_error,
        "max_energy_error_per_atom": energy_error,
    }


def _reference_frame(potential: Potential, graph: Graph) -> dict[str, Tensor]:
    """Geometry, and the eager model's energies, forces and virials."""
    found = differentiate(
        potential,
        graph.edge_vectors,
        graph.edge_index,
        graph.types,
        potential.n_members,
        potential.dtype,
        shared_trunk=potential.shared_trunk,
    )
    gradients = found.gradients.to(torch.float64)
    return {
        contract.REF_POSITIONS: torch.tensor(graph.frame.positions),
        contract.REF_CELL: torch.tensor(graph.frame.cell),
        contract.REF_PBC: torch.tensor(graph.frame.pbc),
        contract.REF_TYPES: graph.types,
        contract.REF_EDGE_INDEX: graph.edge_index,
        contract.REF_EDGE_VECTORS: graph.edge_vectors,
        contract.REF_ENERGIES: found.outputs[contract.ATOMIC_ENERGIES].detach().sum(1),
        contract.REF_FORCES: forces_of(gradients, graph.edge_index, graph.n_atoms),
        contract.REF_VIRIALS: virial_of(found.edge_vectors.detach().to(torch.float64), gradients),
    }
