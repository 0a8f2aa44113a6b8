"""Model files: write, read, describe, and verify what was read."""

import copy
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import contract
from .calibration import Calibration, read_calibration
from .devices import choose_device
from .gradients import Basis
from .native import has_native

# Attributes of the ScriptModule that no engine reads, both optional: with them another training may begin from a file,
# whose tables have no radial networks any more.
TRAINING_STATE_KEY = "training_state"  # Dict[str, Tensor]: what members differ in, as they were trained
TRAINING_FACTS_KEY = "training_facts"  # str: JSON, what else the trainer has to know of them
# Likewise, of samples that were drawn from a posterior: what an update begins with.
POSTERIOR_STATE_KEY = "posterior_state"  # Dict[str, Tensor]
POSTERIOR_FACTS_KEY = "posterior_facts"  # str: JSON


@dataclass(frozen=True)
class Artefact:
    """An exported model, loaded; see `mollifield.contract` for every field's meaning."""

    path: Path
    module: torch.jit.ScriptModule
    format_version: int
    species: list[str]
    r_max: float
    n_layers: int
    n_members: int
    dtype: torch.dtype
    calibration: Calibration
    shared_trunk: bool
    """Whether members are samples on one trunk, not models of their own."""
    basis: Basis | None
    """Members from whose gradients those of all follow; None where each needs a backward pass of its own."""
    reference_frames: list[dict[str, Tensor]]
    latent_space: dict[str, Tensor]
    """Empty where the file has no latent references."""
    labels: list[str] | None
    """What it was trained on, of 'energy', 'forces', 'stress'; None where the file does not say."""
    undetermined_species: list[str] | None
    """Species whose energies are guesses but for the compositions of the training frames; None as above."""
    undetermined_compositions: Tensor
    """[k, n_species], see `mollifield.contract`; no rows where all compositions are determined, or nothing is known."""
    summary: dict[str, Any]
    device: torch.device
    whole: torch.jit.ScriptModule
    """As it is in the file; `module` is frozen for speed."""

    @property
    def has_noise_head(self) -> bool:
        """Whether it tells the noise of labels atom by atom."""
        return hasattr(self.whole, contract.NOISE_METHOD)

    def member(self, k: int) -> "Artefact":
        """Member `k` (from 0) as a model of its own, at the price of one; it has no latent references.

        Raises `ValueError` for a member that isn't there, and for files that don't say which tensors are whose.
        """
        if not 0 <= k < self.n_members:
            raise ValueError(f"{self.path} has no member {k}; allowed: 0 to {self.n_members - 1}")
        with _torchscript_deprecation_ignored():
            module = copy.deepcopy(self.whole)
        _keep_member(module, getattr(module, contract.MEMBER_TENSORS_KEY), k)
        setattr(module, contract.N_MEMBERS_KEY, 1)
        of_members = (contract.REF_ENERGIES, contract.REF_FORCES, contract.REF_VIRIALS)
        frames = [
            {key: value[k : k + 1] if key in of_members else value for key, value in frame.items()}
            for frame in self.reference_frames
        ]
        return replace(
            self,
            module=_frozen(module),
            whole=module,
            n_members=1,
            basis=None,
            reference_frames=frames,
            latent_space={},
        )


def read_trained(artefact: Artefact) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What a model file says of its training (`TRAINING_FACTS_KEY`), and its state; None where it says nothing."""
    return _read_kept(artefact, TRAINING_FACTS_KEY, TRAINING_STATE_KEY)


def read_posterior(artefact: Artefact) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What a model file says of the posterior that its members were drawn from; None where it says nothing."""
    return _read_kept(artefact, POSTERIOR_FACTS_KEY, POSTERIOR_STATE_KEY)


def _read_kept(artefact: Artefact, facts_key: str, state_key: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    facts = getattr(artefact.whole, facts_key, None)
    return None if facts is None else (json.loads(facts), dict(getattr(artefact.whole, state_key)))


def save_artefact(module: torch.jit.ScriptModule, path: str | Path, summary: dict[str, Any]) -> None:
    """Write a model file; it appears under its name only when it is complete.

    Raises `OSError` that names the file, for a full disk say.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    extra = {contract.SUMMARY_FILE: json.dumps(summary, indent=1, sort_keys=True)}
    with _torchscript_deprecation_ignored():
        content = module.save_to_buffer(_extra_files=extra)  # to a file, torch hides the system's error
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def save_calibrated(
    artefact: Artefact, path: str | Path, tables: Mapping[str, Tensor | None], summary: dict[str, Any]
) -> None:
    """Write the model again with these calibration tables (`mollifield.contract`, CALIBRATION_KEY) and summary.

    Tables that are not given stay as they are; None in the place of one takes it out.

    Raises `ValueError` for a file of format version 1, which has no tables, and `OSError` as `save_artefact`.
    """
    if artefact.format_version == 1:
        raise ValueError(
            f"{artefact.path}: format version 1 has no calibration tables: `mollifield upgrade` gives it some"
        )
    other = copy.deepcopy(artefact.whole)
    every = dict(getattr(other, contract.CALIBRATION_KEY)) | dict(tables)
    kept = {name: table for name, table in every.items() if table is not None}
    setattr(other, contract.CALIBRATION_KEY, kept)
    save_artefact(other, path, summary)


def read_artefact(path: str | Path, device: str = "cpu") -> Artefact:
    """Read a model file without recomputing its reference frames: `verification.load_artefact` does that.

    `device` is `cpu`, `cuda`, `cuda:1`, ... or `auto` (a GPU when there is one). Nothing
    in the file is unpickled as code.

    Raises `FileNotFoundError`, and `ValueError` for a file that is truncated, corrupted, a training checkpoint, no
    model of this project, or of a newer format.
    """
    path = Path(path)
    _check_archive(path)
    target = choose_device(device)
    extra = {contract.SUMMARY_FILE: ""}
    native = has_native()  # registers the operators that the file may call
    try:
        with _torchscript_deprecation_ignored():
            module = torch.jit.load(str(path), map_location=target, _extra_files=extra)
    except RuntimeError as error:
        if not native and "mollifield::" in str(error):
            raise ValueError(
                f"{path}: needs the native operators, but libmollifield.so isn't built here; "
                "pip install builds it, or export the model with backend: e3nn"
            ) from error
        raise ValueError(f"{path}: not a readable model file: {_first_line(error)}") from error
    module.eval()
    version = getattr(module, contract.FORMAT_VERSION_KEY, None)
    if version is None:
        raise ValueError(f"{path}: a TorchScript file, but not one exported by Mollifield")
    if version not in contract.READABLE_VERSIONS:
        raise ValueError(
            f"{path}: format version {version}; this release of mollifield reads "
            f"{', '.join(map(str, contract.READABLE_VERSIONS))}: the file is of a later one, which is to be installed"
        )
    summary = extra[contract.SUMMARY_FILE]
    species = list(getattr(module, contract.SPECIES_KEY))
    try:
        calibration = read_calibration(getattr(module, contract.CALIBRATION_KEY), len(species))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Artefact(
        path=path,
        module=_frozen(module),
        format_version=version,
        species=species,
        r_max=float(getattr(module, contract.R_MAX_KEY)),
        n_layers=int(getattr(module, contract.N_LAYERS_KEY)),
        n_members=int(getattr(module, contract.N_MEMBERS_KEY)),
        dtype=getattr(torch, getattr(module, contract.DTYPE_KEY)),
        calibration=calibration,
        shared_trunk=bool(getattr(module, contract.SHARED_TRUNK_KEY, False)),
        basis=_basis(module),
        reference_frames=list(getattr(module, contract.REFERENCE_KEY)),
        latent_space=dict(getattr(module, contract.LATENT_SPACE_KEY, {})),
        labels=_optional_list(module, contract.LABELS_KEY),
        undetermined_species=_optional_list(module, contract.UNDETERMINED_SPECIES_KEY),
        undetermined_compositions=getattr(
            module, contract.UNDETERMINED_COMPOSITIONS_KEY, torch.zeros(0, len(species), dtype=torch.float64)
        ),
        summary=json.loads(summary) if summary else {},
        device=target,
        whole=module,
    )


def _keep_member(module: torch.jit.ScriptModule, names: list[str], k: int) -> None:
    """Cut slice `k` out of the tensors with a member dimension."""
    for name in names:
        owner, leaf = module, name
        while "." in leaf:
            first, leaf = leaf.split(".", 1)
            owner = getattr(owner, first)
        tensor = getattr(owner, leaf)
        cut = tensor.detach()[k : k + 1].clone()
        setattr(
            owner, leaf, torch.nn.Parameter(cut, requires_grad=False) if leaf in dict(owner.named_parameters()) else cut
        )


def _basis(module: torch.jit.ScriptModule) -> Basis | None:
    members = getattr(module, contract.BASIS_KEY, None)
    return None if members is None else Basis(members.tolist(), getattr(module, contract.MIXING_KEY))


def _optional_list(module: torch.jit.ScriptModule, key: str) -> list[str] | None:
    found = getattr(module, key, None)
    return None if found is None else list(found)


def _frozen(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Weights as constants and what depends on them alone computed once: a tenth faster on small systems."""
    stages = [name for name in (*contract.STAGES, contract.NOISE_METHOD) if hasattr(module, name)]
    with _torchscript_deprecation_ignored():
        return torch.jit.freeze(module, preserved_attrs=stages)


def _check_archive(path: Path) -> None:
    """Every entry's checksum: torch's own reader doesn't look at them."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            unexported = not damaged and _is_training_checkpoint(archive)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: truncated, or not a model file: {error}") from error
    if damaged:
        raise ValueError(f"{path}: corrupted: checksum of {damaged} is wrong")
    if unexported:
        raise ValueError(
            f"{path}: a training checkpoint, not an exported model; write one with "
            "`mollifield export RUN_DIRECTORY -o model.pt`"
        )


def is_exported(path: str | Path) -> bool:
    """Whether it is an archive with code in it, which no checkpoint has; False for what cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _has_code(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _has_code(names: Sequence[str]) -> bool:
    return any(name.endswith("/constants.pkl") for name in names)


def _is_training_checkpoint(archive: zipfile.ZipFile) -> bool:
    """Whether it holds the keys of a model as the trainer packs it, and no code (as plugin/cpp/archive.cpp does)."""
    names = archive.namelist()
    if _has_code(names):
        return False
    pickled = b"".join(archive.read(name) for name in names if name.endswith("/data.pkl"))
    return all(key in pickled for key in (b"settings", b"n_members", b"state"))


@contextmanager
def _torchscript_deprecation_ignored() -> Iterator[None]:
    """torch advises `torch.export`, whose files LAMMPS can't load layer by layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
