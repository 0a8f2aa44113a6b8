"""Kinds of somebody else's modules: the page's examples in a loop, and what is said of mistakes."""

import json
import os
from pathlib import Path

import ase.io
import pytest
import yaml
from ase.build import bulk

from mollifield import load_artefact
from mollifield_train.active.config import load_loop_config
from mollifield_train.active.store import LABELLED, Store
from mollifield_train.cli import main
from mollifield_train.config_reference import json_schema
from mollifield_train.uncertainty.posterior_file import make_posterior, update_posterior

from .pages import EXAMPLES, commands_of, files_of, paste, run

PAGE = "extend.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of the page was pasted and run."""
    folder = tmp_path_factory.mktemp("extend")
    frames = []
    for seed in range(3):
        frames.append(bulk("Al", cubic=True))
        frames[-1].rattle(0.05, seed=seed)
    ase.io.write(folder / "start.extxyz", frames)
    paste(PAGE, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]))  # of workers
        patch.chdir(folder)
        commands = commands_of(PAGE)
        assert [words[0] for words in commands] == ["loop", "export-dataset", "posterior"]
        for words in commands:
            run(words)
    return folder


@pytest.fixture
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_the_page_shows_the_examples_and_they_are_short() -> None:
    shown = {name: text for name, text in files_of(PAGE).items() if name.endswith(".py")}
    assert shown == {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}
    assert all(len([line for line in text.splitlines() if line]) <= 20 for text in shown.values())


def test_the_loop_ran_with_explorer_acquisition_and_oracle(folder: Path) -> None:
    frames = Store(folder / "run" / "frames.db").frames(arm="steepest", status=LABELLED)
    assert len(frames) == 2
    assert all(frame.columns["settings"].startswith("with_wall.WITH_WALL-") for frame in frames)
    trace = json.loads((folder / "run" / "steepest" / "round-1" / "trajectory-0.json").read_text())
    assert trace["columns"]["atom"] == [0, 1, 2, 3]


def test_the_posterior_is_in_the_file(folder: Path) -> None:
    artefact = load_artefact(folder / "samples.pt")
    assert artefact.n_members == 16 and artefact.summary["posterior"]["kind"] == "bootstrap.BOOTSTRAP"


def test_what_a_file_says_is_not_imported(folder: Path, tmp_path: Path, on_the_path: None) -> None:
    with pytest.raises(ValueError, match="kind bootstrap.BOOTSTRAP is no kind of this release: make it again"):
        update_posterior(folder / "samples.pt", folder / "start.extxyz", tmp_path / "more.pt")


def loop_yaml(folder: Path, **changes: object) -> Path:
    values = yaml.safe_load(files_of(PAGE)["loop.yaml"]) | changes
    path = folder / "loop.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"explorer": {"kind": "one_atom.ONE_ATOM", "widht": 1}}, "unknown key 'explorer.widht'; did you mean 'width'"),
        ({"explorer": {"kind": "one_atom.ONE_ATOM", "width": -1}}, "key 'explorer.width': input should be greater"),
        ({"oracle": {"kind": "with_wal.WALL"}}, "key 'oracle': cannot import 'with_wal.WALL': No module named"),
        ({"oracle": {"kind": "with_wall.WALL"}}, "cannot import 'with_wall.WALL': module .* PYTHONPATH"),
        (
            {"oracle": {"kind": "one_atom.OneAtomConfig"}},
            "'one_atom.OneAtomConfig' is a .*; allowed is a .*section.Kind",
        ),
        ({"oracle": {"kind": "one_atom.ONE_ATOM"}}, "key 'oracle': .*OracleConfig"),
        ({"oracle": {"kind": "with_wall"}}, "key 'oracle.kind': input should be 'tblite' or"),
    ],
)
def test_mistakes(tmp_path: Path, on_the_path: None, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_loop_config(loop_yaml(tmp_path, **changes))


def test_a_wrong_posterior_is_an_error(folder: Path, tmp_path: Path, on_the_path: None) -> None:
    model, frames = folder / "run" / "steepest" / "round-1" / "model.pt", folder / "train.extxyz"
    with pytest.raises(
        ValueError, match="'one_atom.ONE_ATOM' is a Kind; allowed is a mollifield_train.uncertainty.Kind"
    ):
        make_posterior(model, frames, tmp_path / "samples.pt", "one_atom.ONE_ATOM")


def test_editors_take_an_import_path(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from mollifield_train.active.config import LoopConfig

    values = yaml.safe_load(files_of(PAGE)["loop.yaml"])
    schema = json_schema(LoopConfig)
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"explorer": {"kind": "one_atom"}}, schema)


def test_without_the_path_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = loop_yaml(tmp_path, oracle={"kind": "not_there.AT_ALL"})
    assert main(["loop", str(path)]) == 2
    assert "folder of PYTHONPATH" in capsys.readouterr().err
