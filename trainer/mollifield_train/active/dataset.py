"""The labels of a run as a data set, for any program."""

from __future__ import annotations

from pathlib import Path

import ase.io
from ase import Atoms

from ..data.keys import REFERENCE_KEYS
from ..data.labels import FORCES_MASK
from ..durable import replacing
from ..oracle.labels import Label
from .status import open_run
from .store import LABELLED, TEST_SET, Store, label_of

ORIGIN = ("arm", "round", "trajectory", "step", "source", "system", "side", "cut", "std", "settings", "host", "seconds")
"""Columns of the store that go with a frame."""


def export_dataset(directory: Path, output: Path, arm: str | None = None, test: bool = False) -> int:
    """Write all labelled frames of a run to an extxyz file; how many.

    Labels are REF_energy (eV; not of clusters that were cut out, which have `forces_mask` in its place), REF_forces
    (eV/Å) and REF_stress (eV/Å^3, Voigt, where there is one); each geometry comes once. `arm`: only what this one was
    trained on, with the given frames. `test`: the test set in their place.
    Raises ValueError: no run, no such arm, or no frames.
    """
    config, paths = open_run(directory)
    if arm is not None and arm not in config.arms:
        raise ValueError(f"{directory} has no arm '{arm}'; arms: {', '.join(config.arms)}")
    frames: list[Atoms] = []
    seen = set()
    for row in Store(paths.store).frames(status=LABELLED):
        of_test = row.columns["arm"] == TEST_SET
        other = arm is not None and row.columns["arm"] in config.arms and row.columns["arm"] != arm
        label = label_of(row.atoms)
        if of_test != test or other or row.columns["content"] in seen or label is None:
            continue
        seen.add(row.columns["content"])
        atoms = with_reference(row.atoms, label)
        atoms.info |= {name: row.columns[name] for name in ORIGIN if name in row.columns}
        frames.append(atoms)
    if not frames:
        raise ValueError(f"{directory} has no labelled frames to export yet")
    with replacing(output) as temporary:
        ase.io.write(temporary, frames, format="extxyz")
    return len(frames)


def with_reference(atoms: Atoms, label: Label, with_stress: bool = True) -> Atoms:
    """The geometry with its label as REF_energy (eV), REF_forces (eV/Å) and REF_stress (eV/Å^3, where there is one).

    A cluster that was cut out has its `forces_mask` in place of the energy.
    """
    found = Atoms(atoms.numbers, atoms.get_positions(), cell=atoms.cell, pbc=atoms.pbc)
    mask = atoms.arrays.get(FORCES_MASK)
    if mask is None:
        found.info[REFERENCE_KEYS["energy"]] = label.energy
    else:
        found.arrays[FORCES_MASK] = mask
    found.arrays[REFERENCE_KEYS["forces"]] = label.forces
    if with_stress and label.stress is not None:
        found.info[REFERENCE_KEYS["stress"]] = label.stress
    return found
