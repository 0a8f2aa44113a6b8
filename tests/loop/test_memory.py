"""A loop that runs for long keeps nothing of rounds that are over."""

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from mollifield_train.active import loop
from mollifield_train.active.parts import Parts
from mollifield_train.active.rounds import ArmRun
from tests.loop import stub_parts
from tests.loop.test_rounds import in_this_process, make_config


def after_each_round(directory: Path, n_rounds: int, measure: Callable[[], int]) -> list[int]:
    """What `measure` says after each of so many rounds with stubs and one label each, in this process."""
    found = []
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


def test_memory_stays_flat(tmp_path: Path) -> None:
    """What Python holds after the 30th round is what it held after the 10th, to a few kilobytes a round."""
    tracemalloc.start()
    try:
        held = after_each_round(tmp_path, 30, lambda: tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(held) == 30
    assert (held[29] - held[9]) / 20 < 5000  # bytes; a frame of the store with its row takes about as much
