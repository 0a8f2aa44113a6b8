"""The table of errors after equal minutes: peers in processes of their own, pieces that are kept."""

import sys
from pathlib import Path

import ase.io
import pytest
import yaml

from mollifield_train.training.schedules import Clock

from .fitting import labelled_water, tiny_config

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PEER = """
from accuracy_peer import read_piece, report
from ase.calculators.calculator import Calculator

class Labels(Calculator):
    implemented_properties = ["energy", "forces"]
    def calculate(self, atoms=None, properties=(), system_changes=()):
        energy, forces = labels[atoms.positions.tobytes()]
        self.results = {"energy": energy + 0.03, "forces": forces + off}

piece = read_piece()
open("calls", "a").write("x")
off = piece.settings["off"] * (1 + piece.seed)
labels = {a.positions.tobytes(): (a.get_potential_energy(), a.get_forces()) for a in piece.frames()}
report(piece, Labels(), 60.0 * piece.minutes, lambda atoms: (lambda: sum(range(10_000))))
"""


@pytest.fixture
def accuracy(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import accuracy

    monkeypatch.setattr(Clock, "now", Clock.__dict__["now"])  # which `main` changes
    return accuracy


@pytest.fixture
def study(tmp_path):
    """A set of water and one peer, which knows the labels and is off by 0.1 eV/Å, seed 1 by 0.2, and by 30 meV."""
    (tmp_path / "peer.py").write_text(PEER)
    ase.io.write(tmp_path / "frames.xyz", labelled_water(4), format="extxyz")
    frames = str(tmp_path / "frames.xyz")
    return {
        "directory": str(tmp_path / "study"),
        "minutes": 0.5,
        "seeds": [0, 1],
        "sets": {"water": {"train": frames, "tests": {"same": frames}}},
        "peers": {"fake": {"python": sys.executable, "script": str(tmp_path / "peer.py"), "settings": {"off": 0.1}}},
    }


def table_of(accuracy, study, tmp_path, monkeypatch, capsys, *options) -> list[list[str]]:
    """What `accuracy.py study.yaml` prints, in words; the first line is the heading of columns."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.setattr(sys, "argv", ["accuracy.py", str(tmp_path / "study.yaml"), *options])
    accuracy.main()
    return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_study_with_a_peer_prints_its_table_and_goes_on_where_it_was(accuracy, study, tmp_path, monkeypatch, capsys):
    run = tmp_path / "study" / "water" / "fake"
    study["seeds"] = [0]
    first = table_of(accuracy, study, tmp_path, monkeypatch, capsys)
    assert first == [
        ["set", "test", "fake"],
        ["water", "same", "forces", "100"],
        ["water", "same", "energy", "10"],
        ["water", "CPU", "minutes", "0.5"],
    ]
    study["seeds"] = [0, 1]
    rows = table_of(accuracy, study, tmp_path, monkeypatch, capsys)
    assert rows[1] == ["water", "same", "forces", "150", "(100", "to", "200)"]
    assert [len((run / seed / "calls").read_text()) for seed in "01"] == [1, 1]


def test_time_of_an_evaluation_is_a_row_where_a_frame_is_given(accuracy, study, tmp_path, monkeypatch, capsys):
    study |= {"seeds": [0], "cost_seconds": 0.01}
    study["sets"]["water"]["cost"] = study["sets"]["water"]["train"]
    row = table_of(accuracy, study, tmp_path, monkeypatch, capsys)[-1]
    assert row[:3] == ["water", "CPU", "µs/atom"] and float(row[3]) > 0.0


def test_the_plane_has_a_point_for_what_has_a_cost(accuracy, study, tmp_path, monkeypatch, capsys):
    import accuracy_plane

    picture = tmp_path / "plane.png"
    command = ["accuracy_plane.py", str(tmp_path / "study.yaml"), str(picture), "--panel", "water", "same"]
    study["cost_seconds"] = 0.01
    table_of(accuracy, study, tmp_path, monkeypatch, capsys)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(ValueError, match="water, same: no column of the study has both an error and a cost"):
        accuracy_plane.main()
    monkeypatch.setattr(sys, "argv", [*command[:-2], "wtaer", "same"])
    with pytest.raises(ValueError, match="no set 'wtaer'; the study has water"):
        accuracy_plane.main()
    study |= {"directory": str(tmp_path / "other")}
    study["sets"]["water"]["cost"] = study["sets"]["water"]["train"]
    table_of(accuracy, study, tmp_path, monkeypatch, capsys)
    found = accuracy_plane.points(accuracy.read_study(tmp_path / "study.yaml"), "water", "same")
    assert found["fake"][0] > 0.0 and found["fake"][1] == pytest.approx(150.0)
    monkeypatch.setattr(sys, "argv", command)
    accuracy_plane.main()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_own_models_have_a_time_too(accuracy, tmp_path):
    ase.io.write(tmp_path / "water.xyz", labelled_water(1), format="extxyz")
    model = Path(__file__).parents[1] / "contract" / "files" / "version-1-float32.pt"
    assert accuracy.own_cost(model, tmp_path / "water.xyz", seconds=0.01) > 0.0


def test_a_peer_that_fails_leaves_a_gap_and_is_tried_again(accuracy, study, tmp_path, monkeypatch, capsys):
    study["seeds"] = [0]
    study["peers"]["fake"]["settings"] = {}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    assert table_of(accuracy, study, tmp_path, monkeypatch, capsys)[1:] == [
        ["water", "same", "forces", "missing"],
        ["water", "same", "energy", "missing"],
    ]
    assert "KeyError: 'off'" in (tmp_path / "study" / "water" / "fake" / "0" / "log").read_text()
    study["peers"]["fake"]["settings"] = {"off": 0.2}
    assert table_of(accuracy, study, tmp_path, monkeypatch, capsys)[1][-1] == "200"


def test_variants_are_trained_for_the_minutes_of_cpu_time(accuracy, study, tmp_path, monkeypatch):
    """The clock of a fit is this process's; the model is judged like a peer."""
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(accuracy.time, "process_time", lambda: 0.1 * next(ticks))
    variant = tiny_config(tmp_path, []).model_dump(include={"model", "data"})
    study |= {"seeds": [0], "peers": {}, "minutes": 0.1, "variants": {"ours": variant}}
    judged = []
    monkeypatch.setattr(accuracy, "evaluate_file", lambda model, path: judged.append((model.name, path.name)) or [])
    monkeypatch.setattr(accuracy, "error_summary", lambda frames: {"forces_rmse_mev_per_A": 12.0})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.setattr(sys, "argv", ["accuracy.py", str(tmp_path / "study.yaml")])
    accuracy.main()
    assert judged == [("model.pt", "frames.xyz")]


def test_what_a_study_may_say(accuracy, study, tmp_path):
    file = tmp_path / "study.yaml"
    study["sets"]["water"]["isolate"] = "atoms.xyz"
    file.write_text(yaml.safe_dump(study))
    with pytest.raises(ValueError, match="unknown key 'sets.water.isolate'; did you mean 'isolated'?"):
        accuracy.read_study(file)
    del study["sets"]["water"]["isolate"]
    study["sets"]["water"]["only"] = ["fike"]
    file.write_text(yaml.safe_dump(study))
    with pytest.raises(ValueError, match="'sets.water.only': no variant or peer 'fike'; there are fake"):
        accuracy.read_study(file)
    del study["sets"]["water"]["only"]
    study["variants"] = {"fake": {}}
    file.write_text(yaml.safe_dump(study))
    with pytest.raises(ValueError, match="names of variants and of peers"):
        accuracy.read_study(file)
