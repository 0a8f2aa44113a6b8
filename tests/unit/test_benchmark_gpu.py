"""benchmarks/gpu.py: what it says without a GPU, how it goes on, and its tables."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_measured(gpu, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--folder", str(tmp_path / "results")])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "device 'cuda': " in told and "nothing is measured" in told
    assert not (tmp_path / "results").exists()


def test_a_piece_is_measured_once(gpu, monkeypatch, capsys, tmp_path) -> None:
    """One that fails leaves nothing behind, and is tried again."""
    calls = []

    def piece(bench):
        calls.append(bench.device)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return {"mean forces": 2.5}

    monkeypatch.setitem(gpu.PIECES, "committee", piece)
    bench = gpu.Bench("cpu", tiny=True, rounds=1)
    for _ in range(3):
        gpu.measure("committee", bench, tmp_path)
    told = capsys.readouterr().out
    assert "out of memory" in told and "measured before" in told
    assert calls == ["cpu"] * 2
    assert gpu.json.loads(gpu.place(tmp_path, "committee").read_text()) == {"mean forces": 2.5}


def test_bars_tell_what_is_missing(gpu) -> None:
    table = gpu.bars({"committee": {"mean forces": 2.5}, "training": {"e3nn / native": 4.0}})
    assert "| committee of 4, mean forces / one | at most 3 | 2.5 | met |" in table
    assert "| training step, e3nn / native | at least 5 | 4 | missed |" in table
    assert table.count("not measured") == len(gpu.BARS) - 2


def test_rooflines_are_of_the_measured_copy_rate(gpu) -> None:
    found = {"linear: µs/atom": 2.0, "linear: kB/atom": 1.0, "linear: bytes/s": 5e8}
    table = gpu.rooflines({"rates": {"copy": 2e9}, "roofline": found})
    assert "Copying moves 2 GB/s" in table and "| linear | 2 | 1 | 25 |" in table
    assert gpu.rooflines({}) == "roofline: not measured"
