"""Model files of earlier format versions, written again as this release writes them."""

import copy
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from . import contract
from .artefact import Artefact, save_artefact
from .calibration import tables_of
from .verification import load_artefact

OPTIONAL = (contract.LABELS_KEY, contract.UNDETERMINED_SPECIES_KEY)
"""Attributes that files of version 1 have where they are of its last days."""


class NamedOutputs(nn.Module):
    """A module of format version 1, whose two outputs get their names."""

    format_version: int
    species: list[str]
    r_max: float
    n_layers: int
    n_members: int
    dtype: str
    shared_trunk: bool
    calibration: dict[str, Tensor]
    reference_frames: list[dict[str, Tensor]]
    member_tensors: list[str]
    latent_space: dict[str, Tensor]
    labels: list[str]
    undetermined_species: list[str]

    def __init__(self, artefact: Artefact) -> None:
        super().__init__()
        before = copy.deepcopy(artefact.whole)
        self.format_version = contract.SEPARATE_VERSION
        self.species = artefact.species
        self.r_max = artefact.r_max
        self.n_layers = artefact.n_layers
        self.n_members = artefact.n_members
        self.dtype = str(artefact.dtype).removeprefix("torch.")
        self.calibration = tables_of(getattr(before, contract.CALIBRATION_KEY), len(artefact.species))
        self.shared_trunk = False
        self.reference_frames = artefact.reference_frames
        self.latent_space = artefact.latent_space
        for key in OPTIONAL:
            if hasattr(before, key):
                setattr(self, key, list(getattr(before, key)))
        names = getattr(before, contract.MEMBER_TENSORS_KEY, None)
        if names is not None:
            self.member_tensors = [f"before.{name}" for name in names]
        setattr(before, contract.REFERENCE_KEY, [])  # not twice in the file
        if hasattr(before, contract.LATENT_SPACE_KEY):
            setattr(before, contract.LATENT_SPACE_KEY, {})
        self.before = before

    def forward(self, edge_vectors: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """See `mollifield.contract`."""
        atomic_energies, latent = self.before(edge_vectors, edge_index, types)
        return {"atomic_energies": atomic_energies, "latent": latent}


class NamedStages(NamedOutputs):
    """One that runs layer by layer as well."""

    @torch.jit.export
    def embed(self, edge_vectors: Tensor, types: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The stages of `forward`, see `mollifield.contract`."""
        return self.before.embed(edge_vectors, types)

    @torch.jit.export
    def send(self, k: int, x: Tensor) -> Tensor:
        """See `mollifield.contract`."""
        return self.before.send(k, x)

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
        return self.before.receive(k, sent, x, harmonics, lengths, basis, edge_index, types)

    @torch.jit.export
    def read(self, x: Tensor, lengths: Tensor, edge_index: Tensor, types: Tensor) -> dict[str, Tensor]:
        """See `mollifield.contract`."""
        atomic_energies, latent = self.before.read(x, lengths, edge_index, types)
        return {"atomic_energies": atomic_energies, "latent": latent}


def upgrade(path: str | Path, output: str | Path) -> Artefact:
    """Write the model of `path` as a file of the present format, with the same members, calibration and references.

    Returns what was written, read again and found to reproduce the reference frames of the old file. What an old
    file did not say (what it was trained on, how far its data reach) the new one doesn't say either.

    Raises `ValueError` for a file that needs no upgrade, or that this release can't read; `OSError` as `save_artefact`.
    """
    artefact = load_artefact(path)
    if artefact.format_version >= contract.SEPARATE_VERSION:
        raise ValueError(
            f"{path}: format version {artefact.format_version}, which this release reads and writes: "
            "there is nothing to upgrade"
        )
    staged = all(hasattr(artefact.whole, name) for name in contract.STAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch deprecates TorchScript
        scripted = torch.jit.script((NamedStages if staged else NamedOutputs)(artefact).eval())
    save_artefact(scripted, output, {**artefact.summary, "upgraded_from_format": artefact.format_version})
    return load_artefact(output)
