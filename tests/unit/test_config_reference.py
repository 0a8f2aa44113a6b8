"""The schema and the reference of config files: they say what the classes read, all of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mollifield_train.active.acquire import ACQUISITIONS
from mollifield_train.active.explore import EXPLORERS
from mollifield_train.cli import main
from mollifield_train.commands.init import BEGINNINGS
from mollifield_train.config_reference import configs, json_schema, markdown, sections
from mollifield_train.section import validated

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]


def loop(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "examples/ethanol/loop.yaml").read_text())
    return values | changes


def complaints(name: str, values: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema(configs()[name]))
    return [error.json_path for error in validator.iter_errors(values)]


@pytest.mark.parametrize("name", sorted(configs()))
def test_every_reference_is_there(name: str) -> None:
    schema = json_schema(configs()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema))) <= set(schema["$defs"])
    assert "x-any-of-kinds" not in json.dumps(schema)


def test_good_configs_are_good() -> None:
    assert complaints("loop", loop()) == []
    assert complaints("loop", loop(explorer={"kind": "by_turns", "explorers": [{"kind": "modes"}]})) == []
    for model in ("fast", {"preset": "accurate", "n_channels": 8}, {"kind": "equivariant", "l_max": 1}, {"l_max": 1}):
        assert complaints("train", {"directory": "runs/a", "data": {"train": "a.xyz"}, "model": model}) == []
    for kind in ("heads", {"kind": "heads", "last": 0.5}, {"kind": "mc_dropout", "passes": 4}):
        assert complaints("train", {"data": {"train": "a.xyz"}, "uncertainty": {"kinds": [kind]}}) == []
    assert complaints("train", {"data": {"train": "a.xyz"}, "uncertainty": {"kinds": [{"kind": "heads", "p": 1}]}})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"explorer": {"kind": "lamps"}}, "$.explorer"),
        ({"explorer": {"kind": "shaken", "n_steps": 3}}, "$.explorer"),
        ({"batch": 0}, "$.batch"),
        ({"btch": 3}, "$"),
        ({"arms": {"active": {"kind": "log_det", "pool_factor": 3}}}, "$.arms.active"),
    ],
)
def test_what_is_wrong_is_marked(changes: dict[str, Any], path: str) -> None:
    assert complaints("loop", loop(**changes)) == [path]


def test_the_reference_has_every_kind_and_key() -> None:
    text = markdown(configs()["loop"], "loop")
    found = sections(configs()["loop"])
    for kind in [*EXPLORERS.values(), *ACQUISITIONS.values()]:
        assert kind.section in found
    for section in found:
        for name in section.model_fields:
            assert f"| `{name}` |" in text
    assert "kind='" not in text  # no Python in it


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "train"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "TrainConfig"
    assert main(["schema", "train", "--markdown"]) == 0
    assert "### `form: taylor` (TaylorConfig)" in capsys.readouterr().out


@pytest.mark.parametrize("what", BEGINNINGS)
def test_beginnings_are_read_as_they_are(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", what, "--folder", str(tmp_path)]) == 0
    command = BEGINNINGS[what]
    assert f"mollifield {command} {tmp_path / command}.yaml" in capsys.readouterr().out
    values = yaml.safe_load((tmp_path / f"{command}.yaml").read_text())
    validated(configs()[command], values, what)
    schema = json.loads((tmp_path / f"{command}.schema.json").read_text())
    assert not list(jsonschema.Draft202012Validator(schema).iter_errors(values))
    assert main(["init", what, "--folder", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
