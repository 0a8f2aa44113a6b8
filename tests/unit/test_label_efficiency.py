"""The benchmark of explorers and acquisitions: its arithmetic, on curves that are known."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from label_efficiency import Curve, labels_for, mean, merged


def test_labels_for_an_error_are_interpolated_in_the_logarithm() -> None:
    curve = Curve([0, 10, 20], [0.8, 0.4, 0.1])
    assert labels_for(curve, 0.2) == (pytest.approx(15.0), True)
    assert labels_for(curve, 0.4) == (pytest.approx(10.0), True)
    assert labels_for(curve, 0.9) == (0.0, True)
    assert labels_for(curve, 0.05) == (20.0, False)
    assert labels_for(Curve([0, 10], [0.3, 0.3]), 0.3) == (10.0, True)


def test_changes_replace_a_section_of_another_kind() -> None:
    base = {"explorer": {"kind": "lammps", "n_steps": 4000, "select": 1}, "arms": {"a": {"kind": "random"}}, "batch": 3}
    changed = merged(base, {"explorer": {"n_steps": 5}, "arms": {"b": {"kind": "log_det"}}})
    assert changed["explorer"] == {"kind": "lammps", "n_steps": 5, "select": 1}
    assert changed["arms"] == {"b": {"kind": "log_det"}} and changed["batch"] == 3
    assert merged(base, {"explorer": {"kind": "modes"}})["explorer"] == {"kind": "modes"}


def test_means_have_standard_errors() -> None:
    assert mean([1.0, 3.0]) == "2 ± 1"
    assert mean([2.0]) == "2"
