"""Does this installation compute what the model file says?"""

import json
from pathlib import Path

from . import contract
from .artefact import Artefact, read_artefact
from .potential import evaluate_edges


def load_artefact(path: str | Path, device: str = "cpu", verify: bool = True) -> Artefact:
    """Read a model file and, unless `verify` is off, recompute its reference frames.

    `device` and errors: see `read_artefact`; and `ValueError` for a file that doesn't reproduce its own reference
    frames.
    """
    artefact = read_artefact(path, device)
    if verify:
        verify_reference(artefact)
    return artefact


def verify_reference(artefact: Artefact) -> dict[str, float]:
    """Recompute every reference frame; largest deviations in energy, forces and virial.

    Returned in eV/atom, eV/Å and eV/atom. Raises `ValueError` beyond `REFERENCE_TOLERANCE`.
    """
    tolerance = contract.REFERENCE_TOLERANCE[str(artefact.dtype).removeprefix("torch.")]
    worst = {"energy": 0.0, "forces": 0.0, "virial": 0.0}
    for k, frame in enumerate(artefact.reference_frames):
        n_atoms = frame[contract.REF_TYPES].shape[0]
        out = evaluate_edges(
            artefact,
            frame[contract.REF_EDGE_VECTORS],
            frame[contract.REF_EDGE_INDEX],
            frame[contract.REF_TYPES],
            members=True,
        )
        for name, found, key, scale in (
            ("energy", out.energies, contract.REF_ENERGIES, 1.0 / n_atoms),
            ("forces", out.forces, contract.REF_FORCES, 1.0),
            ("virial", out.virial, contract.REF_VIRIALS, 1.0 / n_atoms),
        ):
            expected = frame[key].to(found.device)
            deviation = float(((found - expected) * scale).abs().max())
            limit = tolerance * (1.0 + float((expected * scale).abs().max()))
            if not deviation <= limit:
                raise ValueError(
                    f"{artefact.path}: reference frame {k}: {name} differs by {deviation:.3g} from the "
                    f"value stored at export (allowed {limit:.3g}); the file is damaged or this "
                    "installation computes wrongly"
                )
            worst[name] = max(worst[name], deviation)
    return worst


def describe(artefact: Artefact) -> str:
    """A page for people: what the model is, what it was trained on, and whether it checks out."""
    worst = verify_reference(artefact)
    apart = " (energies of these species are not told apart by the training frames)"
    lines = [
        f"file           {artefact.path} ({artefact.path.stat().st_size / 1024:.0f} KiB)",
        f"format         {artefact.format_version}",
        f"species        {' '.join(artefact.species)}",
        f"r_max          {artefact.r_max} Å, {artefact.n_layers} layers "
        f"(receptive field {artefact.r_max * artefact.n_layers} Å)",
        f"members        {artefact.n_members}{', samples on one trunk' * artefact.shared_trunk}",
        f"dtype          {str(artefact.dtype).removeprefix('torch.')}",
        f"calibration    {artefact.calibration.described()}",
        f"trained on     {_listed(artefact.labels)}",
        f"undetermined   {_listed(artefact.undetermined_species)}{apart * bool(artefact.undetermined_species)}",
        f"reference      {len(artefact.reference_frames)} frames reproduced; largest deviation "
        f"{worst['energy']:.1e} eV/atom, {worst['forces']:.1e} eV/Å, {worst['virial']:.1e} eV/atom (virial)",
    ]
    n_references = len(artefact.latent_space.get(contract.LATENT_TYPES, ()))
    lines.append(f"latent space   {f'{n_references} references' if n_references else 'no references'}")
    for key, value in artefact.summary.items():
        text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
        lines.append(f"{key:<14} {text}")
    return "\n".join(lines)


def _listed(names: list[str] | None) -> str:
    return "unknown" if names is None else ", ".join(names) or "none"
