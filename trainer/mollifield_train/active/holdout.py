"""Independent test frames: the oracle's own dynamics, one stored frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from mollifield_train.active.config import LoopConfig
from mollifield_train.active.dynamics import langevin, thermalised
from mollifield_train.active.oracles import make_calculator
from mollifield_train.active.store import GIVEN, TEST, Label, Store

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
    forces = None
    if done:
        atoms = done[-1].atoms
        forces = atoms.get_forces()  # the label, which is not computed again
    else:
        rng = np.random.default_rng([config.seed, _STREAM])
        atoms = thermalised(store.frames(arm=GIVEN)[0].atoms, settings.temperature, rng)
    atoms.calc = make_calculator(config.oracle)
    for index in range(len(done), settings.n_frames):
        rng = np.random.default_rng([config.seed, _STREAM, index])
        damping = config.explorer.damping
        dynamics = langevin(atoms, settings.temperature, settings.timestep, damping, rng)
        for _ in range(settings.every + (settings.n_equilibration if index == 0 else 0)):
            forces = dynamics.step(forces)
        store.add_test(atoms, Label(float(atoms.get_potential_energy()), forces), index)
    say("test set: complete")

