"""One file and one line in a table are all that another acquisition or explorer takes: the loop runs with it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mollifield_train.active import loop
from mollifield_train.active.acquire import ACQUISITIONS
from mollifield_train.active.config import LoopConfig, load_loop_config
from mollifield_train.active.explore import EXPLORERS, explore
from mollifield_train.active.explore.trajectory import read_trace
from mollifield_train.active.parts import Parts
from mollifield_train.active.store import CANDIDATE, LABELLED, Store
from mollifield_train.durable import read_json
from mollifield_train.section import Kind
from tests.loop import stub_parts
from tests.loop.smallest_cell import SmallestCell, SmallestCellConfig
from tests.loop.strain_explorer import StrainConfig, explore_by_strain
from tests.loop.test_rounds import in_this_process, make_config

LIMIT = 72.0  # Å^3: aluminium's cell of four atoms, 66.4, grows by 3% a step


@pytest.fixture(scope="module", autouse=True)
def lines_in_the_tables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        patch.setitem(ACQUISITIONS, "smallest_cell", Kind(SmallestCellConfig, SmallestCell))
        patch.setitem(EXPLORERS, "strain", Kind(StrainConfig, explore_by_strain))
        yield


def changes(limit: float = LIMIT) -> dict[str, Any]:
    return {
        "rounds": 1,
        "batch": 2,
        "arms": {"small": {"kind": "smallest_cell", "limit": limit}, "drawn": {"kind": "random"}},
        "explorer": {"kind": "strain", "n_trajectories": 2, "extra_trajectories": 1},
    }


def run(config: LoopConfig) -> Path:
    parts = Parts(stub_parts.train, explore, stub_parts.Committee)
    return loop.run_loop(config, False, lambda config: parts)


def test_the_loop_runs_with_them(tmp_path: Path) -> None:
    config = make_config(tmp_path, **changes())
    report = re.sub(r"<script.*?</script>", "", run(config).read_text(), flags=re.DOTALL)
    store = Store(config.directory / "frames.db")
    small = store.frames(arm="small", status=LABELLED)
    left = store.frames(arm="small", status=CANDIDATE)
    assert len(small) == 2 and len(store.frames(arm="drawn", status=LABELLED)) == 2
    assert max(frame.atoms.get_volume() for frame in small) < min(frame.atoms.get_volume() for frame in left)
    trace, _ = read_trace(config.directory / "small" / "round-1" / "trajectory-1.json")
    assert trace["step"] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(trace["strain"], [0.01, 0.02, 0.03, 0.04, 0.05])
    # A report has no figure of an uncertainty that nobody wrote down, and no time where there is none.
    assert "2 new labels, with the smallest cells, brought" in report
    assert "As many new frames drawn at random" in report
    assert "Uncertainty along the trajectories" not in report and " ps" not in report


def test_an_acquisition_that_wants_no_candidate_gets_another_trajectory(tmp_path: Path, capsys: Any) -> None:
    config = make_config(tmp_path, **changes(limit=1.0))
    run(config)
    ends = {row["arm"]: row for row in read_json(config.directory / "rounds.json") if row["round"] == 1}
    assert (ends["small"]["n_missing"], ends["drawn"]["n_missing"]) == (2, 0)
    assert "2 MISSING: no candidates left in 3 trajectories" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"arms": {"small": {"kind": "smallest_cell", "limit": 70, "limt": 1}}},
            "unknown key 'arms.small.limt'; did you mean 'limit'",
        ),
        (
            {"arms": {"small": {"kind": "smallest_cell", "limit": -1}}},
            "key 'arms.small.limit': input should be greater",
        ),
        ({"arms": {"small": {"kind": "smallest_cell"}}}, "key 'arms.small.limit' is missing"),
        ({"arms": {"small": {"kind": "smalest"}}}, "key 'arms.small.kind': input should be .* or 'smallest_cell'"),
        ({"explorer": {"kind": "strain", "stran": 1}}, "unknown key 'explorer.stran'; did you mean 'strain'"),
        ({"explorer": {"kind": "stran"}}, "key 'explorer.kind': input should be 'lammps' or 'ase' or .* or 'strain'"),
    ],
)
def test_their_keys_are_checked(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(yaml.safe_dump({"directory": "run", "frames": "frames.xyz"} | change))
    with pytest.raises(ValueError, match=message):
        load_loop_config(path)
