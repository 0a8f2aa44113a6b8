"""Checkpoints: whole, or an error that names the file, wherever it is torn."""

import pytest
import torch

from mollifield_train.tensor_file import read_tensors, write_tensors


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "last.ckpt", {"weights": torch.arange(500.0), "epoch": 3, "names": ["a"]})
    return tmp_path / "last.ckpt"


def test_what_was_written_is_read(path):
    content = read_tensors(path)
    assert content["epoch"] == 3 and torch.equal(content["weights"], torch.arange(500.0))


def test_torn_files_say_so(path):
    whole = path.read_bytes()
    for length in [*range(0, 100, 7), *range(100, len(whole), 101), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"last\.ckpt: truncated or damaged, .*; delete it to start"):
            read_tensors(path)


def test_damaged_numbers_are_noticed(path):
    whole = bytearray(path.read_bytes())
    at = whole.index(torch.arange(500.0).numpy().tobytes())
    whole[at + 1000] ^= 0x40
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"last\.ckpt: truncated or damaged"):
        read_tensors(path)


def test_other_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.pt: cannot be read: No such file"):
        read_tensors(tmp_path / "nothing.pt")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_tensors(tmp_path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: not a checkpoint, holds a list"):
        read_tensors(tmp_path / "list.pt")
