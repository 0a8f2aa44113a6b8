"""Independent test frames: the oracle's own dynamics, one stored frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.dynamics import langevin, thermalised
from mollifield_train.active.oracles import make_calculator, stress_of
from mollifield_train.active.start import is_isolated_atom
from mollifield_train.active.store import GIVEN, LABELLED, TEST, Store

_STREAM = 600
"""Keeps this dynamics' random numbers apart from the explorers'."""


def make_test_set(config: LoopConfig, database: Path, say: Callable[[str], None]) -> None:
    """Continue the oracle's dynamics until the store holds all test frames.

    Each frame is stored with its momenta, and each stretch between two frames has its own random
    stream, so that an interrupted dynamics continues exactly and repeats no stored frame.
    """
    store = Store(database)
    done = store.frames(arm=TEST)
    settings = config.test_set
    if len(done) >= settings.n_frames:
        return
    say(f"test set: {settings.n_frames} frames at {settings.temperature:g} K by the oracle")
    if done:
        last = done[-1].atoms
    else:
        rng = np.random.default_rng([config.seed, _STREAM])
        labelled = [frame.atoms for frame in store.frames(arm=GIVEN, status=LABELLED)]
        given = next(atoms for atoms in labelled if not is_isolated_atom(atoms))
        last = thermalised(given, settings.temperature, rng)
        last.calc = given.calc
    for index in range(len(done), settings.n_frames):
        last = _next_frame(last, index, config)
        store.add_test(last, index)
    say("test set: complete")


def _next_frame(last: Atoms, index: int, config: LoopConfig) -> Atoms:
    """The labelled frame one stretch after ``last``, by another path where the oracle fails."""
    for attempt in range(config.oracle.retries + 1):
        rng = np.random.default_rng([config.seed, _STREAM, index, attempt])
        try:
            return _run_stretch(last, index, config, rng)
        except Exception as problem:  # noqa: BLE001  # a calculator may raise anything
            error = problem
    raise ValueError(f"test set: no frame {index + 1}, the oracle failed: {error}") from error


def _run_stretch(
    last: Atoms, index: int, config: LoopConfig, rng: np.random.Generator
) -> Atoms:
    settings = config.test_set
    forces = last.get_forces()  # a label, which is not computed again
    atoms = last.copy()
    atoms.calc = make_calculator(config.oracle)
    damping = config.explorer.damping
    dynamics = langevin(atoms, settings.temperature, settings.timestep, damping, rng)
    for _ in range(settings.every + (settings.n_equilibration if index == 0 else 0)):
        forces = dynamics.step(forces)
    energy = float(atoms.get_potential_energy())
    stress = stress_of(atoms)
    labels = {"energy": energy, "forces": forces} | ({} if stress is None else {"stress": stress})
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms
