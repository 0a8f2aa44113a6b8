"""Devices by name, and what is said where one is missing."""

import argparse
import re

import pytest
import torch

from mollifield import devices
from mollifield.devices import choose_device, describe_devices
from mollifield_train.commands import info
from mollifield_train.config import TrainConfig
from mollifield_train.training.run import train

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def test_auto_and_the_cpu_are_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_torch_without_cuda_is_told_from_a_missing_driver(name: str) -> None:
    version = re.escape(torch.__version__.split("+")[0])
    with pytest.raises(ValueError, match=f"device '{name}': .*built for CPUs alone.*pip install.*torch=={version} "):
        choose_device(name)


@without_gpu
def test_a_torch_with_cuda_is_told_what_the_driver_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(
        ValueError, match="has CUDA 12.8 and finds no GPU: (no NVIDIA driver.*install the driver|cuInit)"
    ):
        choose_device("cuda")
    monkeypatch.setattr(devices, "has_native", lambda: False)
    with pytest.raises(ValueError, match="finds no GPU: its driver is missing, or shows no device"):
        choose_device("cuda")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device 'cuda:2': there are 2 GPUs here: cuda:0 to cuda:1"):
        choose_device("cuda:2")


@without_gpu
def test_training_refuses_before_it_reads_anything(tmp_path) -> None:
    config = TrainConfig(directory=str(tmp_path / "run"), data={"train": str(tmp_path / "no.xyz")}, device="cuda")
    with pytest.raises(ValueError, match="device 'cuda': "):
        train(config, progress=False)


@without_gpu
def test_the_machine_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    found = describe_devices()
    assert list(found) == ["GPUs", "cache", "driver", "nvrtc", "on GPUs run"]
    assert found["GPUs"].startswith("none; torch ")
    assert "install the driver" in found["driver"] or "cuInit" in found["driver"] or "CUDA" in found["driver"]
    assert found["on GPUs run"] in ("reference", "kernels")
    parser = argparse.ArgumentParser()
    info.add_arguments(parser)
    info.run(parser.parse_args([]))
    told = capsys.readouterr().out
    assert all(text in told for text in found.values())
