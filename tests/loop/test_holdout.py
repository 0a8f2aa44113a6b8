"""The test set: the oracle's own dynamics, continued exactly where it stopped."""

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from mollifield_train.active.config import LoopConfig
from mollifield_train.active.holdout import make_test_set
from mollifield_train.active.store import Store
from tests.loop.test_store import labelled


def config(n_frames: int, **oracle: object) -> LoopConfig:
    return LoopConfig(
        directory=Path("unused"),
        frames=Path("unused"),
        oracle={"kind": "emt"} | oracle,
        test_set={"n_frames": n_frames, "every": 3, "n_equilibration": 2, "temperature": 50},
    )


def make(path: Path, *stretches: int) -> list[np.ndarray]:
    store = Store(path)
    store.add_given([labelled(0)])
    for n_frames in stretches:
        make_test_set(config(n_frames), path, lambda line: None)
    frames = store.frames(arm="test")
    for frame in frames:
        check = frame.atoms.copy()
        check.calc = EMT()
        np.testing.assert_allclose(frame.atoms.get_forces(), check.get_forces(), atol=1e-12)
    return [frame.atoms.get_positions() for frame in frames]


def test_continued_equals_uninterrupted(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.db", 5)
    parts = make(tmp_path / "parts.db", 2, 4, 5)
    assert len(whole) == 5
    np.testing.assert_array_equal(whole, parts)
    assert np.abs(np.diff(whole, axis=0)).max(axis=(1, 2)).min() > 1e-3  # Å: it moves


def test_another_path_where_the_oracle_fails(tmp_path: Path) -> None:
    store = Store(tmp_path / "frames.db")
    store.add_given([labelled(0)])
    failing = {
        "kind": "ase",
        "calculator": f"{__package__}.broken_calculators.FailsTwice",
        "arguments": {"log": str(tmp_path / "log")},
    }
    with pytest.raises(ValueError, match="no frame 1, the oracle failed: SCF did not converge"):
        make_test_set(config(2, retries=1, **failing), tmp_path / "frames.db", lambda line: None)
    make_test_set(config(2, retries=1, **failing), tmp_path / "frames.db", lambda line: None)
    assert len(store.frames(arm="test")) == 2
