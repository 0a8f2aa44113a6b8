"""A loop that runs for long keeps nothing of rounds that are over."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from mollifield_train.active import loop
from mollifield_train.active.parts import Parts
from mollifield_train.active.rounds import ArmRun
from tests.loop import stub_parts
from tests.loop.test_rounds import in_this_process, make_config

Found = TypeVar("Found")


def after_each_round(directory: Path, n_rounds: int, measure: Callable[[], Found]) -> list[Found]:
    """What `measure` says after each of so many rounds with stubs and one label each, in this process."""
    found: list[Found] = []
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        patch.setattr("mollifield_train.active.report.write_report", lambda *arguments: None)
        evaluate = ArmRun.evaluate

        def measured(self: ArmRun, number: int) -> None:
            evaluate(self, number)
            gc.collect()
            found.append(measure())

        patch.setattr(ArmRun, "evaluate", measured)
        explorer = {"n_trajectories": 1, "n_steps": 60, "sample_every": 20, "select": 0.1}
        arms = {"active": {"kind": "most_uncertain"}}
        config = make_config(directory, rounds=n_rounds, batch=1, explorer=explorer, arms=arms)
        parts = Parts(stub_parts.train, stub_parts.explore, stub_parts.Committee)
        loop.run_loop(config, False, lambda config: parts)
    return found[1:]


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat(tmp_path: Path) -> None:
    """After the 20th round there are as many objects as after the 8th, and hardly more memory is used."""
    found = after_each_round(tmp_path, 20, lambda: (len(gc.get_objects()), resident()))
    assert len(found) == 20
    objects, memory = np.array(found).T
    assert abs(objects[19] - objects[7]) < 5 * 12  # a round has dozens of frames and rows, each of many objects
    assert memory[19] - memory[7] < 12 * 0.3e6
