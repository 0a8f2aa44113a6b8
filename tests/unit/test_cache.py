"""Frames and neighbour lists on disk: the same as in memory, whoever was killed, changed or damaged what."""

import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from mollifield_train.data.batches import Graph, build_graphs
from mollifield_train.data.cache import blocks, building
from mollifield_train.data.cache.graphs import StoredGraphs, stored_frame_sets
from mollifield_train.data.cache.stored import StoredFrames
from mollifield_train.data.frames import Frame, Reading, read_frame_sets
from mollifield_train.data.graph_sets import InMemory, shortest_distances
from mollifield_train.data.origins import Origin
from mollifield_train.data.statistics import species_of
from mollifield_train.data.summary import Summary
from mollifield_train.tensor_file import read_tensors
from mollifield_train.training.run import train
from mollifield_train.training.run_directory import MEMBERS_FILE

from .fitting import labelled_water, later_export, no_export, tiny_config  # noqa: F401  (fixtures)
from .frames import labelled, moved_water, written

CUTOFF = (3.0, 0.4)
SUMMARY = [name for name in vars(Summary) if not name.startswith("_") and name != "loaded"]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four frames."""
    monkeypatch.setattr(blocks, "LIMITS", blocks.Limits(n_frames=4))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Shards that this process has made."""
    paths, write = [], building.write_shard

    def counting(path: Path, *arguments: object) -> None:
        write(path, *arguments)
        paths.append(path)

    monkeypatch.setattr(building, "write_shard", counting)
    return paths


def cached(cache: Path, *sets: object, reading: Reading | None = None, workers: int = 1) -> list[StoredFrames]:
    return stored_frame_sets(sets, reading or Reading(), CUTOFF, cache, workers, progress=False)


def many_kinds() -> list[Atoms]:
    """Molecules, a small cell, a free atom; with all labels and with some; with tags and weights."""
    cell = bulk("Cu")
    cell.rattle(0.05, seed=1)
    slab = Atoms("OCuO", positions=[[0, 0, 0], [1.5, 0.1, 0.2], [0.3, 1.9, 0.1]], cell=[3, 3.5, 0], pbc=[1, 1, 0])
    found = [*moved_water(6), labelled(cell, -3.0, stress=np.zeros(6)), labelled(slab, -7.0), labelled(Atoms("O"))]
    found[1].info |= {"config_type": "wet", "config_weight": 2.0, "step": 17}
    found[3].calc.results.pop("forces")
    found[4].arrays["forces_mask"] = np.array([True, False, True])
    return found


def same(a: object, b: object) -> bool:
    if isinstance(a, Graph | Frame):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple) and a:
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_it_gives_what_memory_has(tmp_path):
    """Summaries, frames and graphs, with the mollifier's lists and without, of files of two origins."""
    one, two = written(tmp_path, *many_kinds()), written(tmp_path, *moved_water(5, seed=3), name="two.xyz")
    origins = (Origin("two.xyz", energy_unit="Hartree", forces_unit="Ry/Bohr", config_type="dft", weight=0.5),)
    reading = Reading(origins=origins, group_weights={"wet": 3.0})
    (frames,) = read_frame_sets([[one, two]], reading, progress=False)
    (stored,) = cached(tmp_path / "cache", [one, two], reading=reading)
    assert len(stored) == len(frames) == 14
    for summary, frame in zip(stored, frames, strict=True):
        for name in SUMMARY:
            assert same(getattr(summary, name), getattr(frame, name)), name
        assert same(summary.loaded(), frame)
    species = species_of(stored)
    assert species == species_of(frames) == ["H", "O", "Cu"]
    for with_nearby in (True, False):
        graphs = InMemory(build_graphs(frames, species, *CUTOFF, with_nearby=with_nearby))
        on_disk = StoredGraphs(stored, species, CUTOFF, with_nearby)
        assert all(map(same, on_disk, graphs)) and len(on_disk) == len(graphs)
        assert same(on_disk.n_edges, graphs.n_edges)
        on_disk = pickle.loads(pickle.dumps(on_disk))  # as worker processes get it
        assert same(on_disk[-1], graphs[-1]) and all(map(same, on_disk[2:5], graphs[2:5]))
    assert (graphs[6].nearby is None) and graphs.n_edges[6] == 12  # of one atom in a small cell
    for unknown in (
        lambda: build_graphs(frames, ["H", "O"], *CUTOFF),
        lambda: StoredGraphs(stored, ["H", "O"], CUTOFF),
    ):
        with pytest.raises(
            ValueError, match=r"frame 6 of .*frames\.xyz: .*number 29\).*; it knows atomic numbers 1, 8$"
        ):
            unknown()
    near = shortest_distances([on_disk], species, 3.0)
    assert near == shortest_distances([graphs], species, 3.0)
    assert near[0][2] == 3.0 and 0.0 < near[1][2] < 3.0


@pytest.mark.parametrize("mollifier", [None, {"weight": 0.01, "width": 0.05, "every": 1}], ids=["plain", "mollified"])
def test_weights_are_those_without_it(tmp_path, mollifier):
    """To the last bit, and so are the errors; also where members are trained in a run that is continued."""
    images = labelled_water(13, box=4.0)
    found = []
    for name, cache in (("plain", None), ("cached", str(tmp_path / "cache")), ("again", str(tmp_path / "cache"))):
        config = tiny_config(
            tmp_path,
            images,
            name,
            data={"cache": cache},
            loss={"mollifier": mollifier},
            optimiser={"epochs": 2, "batch_by": "edges"},
        )
        found.append(read_tensors(train(config, progress=False).directory / MEMBERS_FILE))
    expected = found[0]
    for members in found[1:]:
        assert members["metrics"] == expected["metrics"]
        assert members["trained_on"] == expected["trained_on"]
        assert members["potential"]["settings"] == expected["potential"]["settings"]
        state = members["potential"]["state"]
        assert all(torch.equal(state[name], tensor) for name, tensor in expected["potential"]["state"].items())


BUILD = """
import os, signal, sys
from pathlib import Path
from mollifield_train.data.cache import blocks, building, shard
from mollifield_train.data.cache.graphs import stored_frame_sets
from mollifield_train.data.frames import Reading

blocks.LIMITS = blocks.Limits(n_frames=4)
write, made = building.write_shard, []

def meddling(path, *arguments):
    if len(made) == 2 and sys.argv[3] == "die":
        path.with_name(f".{path.stem}.{os.getpid()}.shard").write_bytes(b"half of it")
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *arguments)
    made.append(path)
    if len(made) == 2 and sys.argv[3] == "wait":
        print("two", flush=True)
        sys.stdin.readline()

building.write_shard = meddling
stored_frame_sets([sys.argv[1]], Reading(), (3.0, 0.4), Path(sys.argv[2]), 1, False)
"""


def another_process(frames: Path, cache: Path, what: str) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILD, str(frames), str(cache), what]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def written_at(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def test_what_a_killed_process_has_made_is_kept(tmp_path, made):
    frames, cache = written(tmp_path, *moved_water(18)), tmp_path / "cache"
    with another_process(frames, cache, "die") as process:
        assert process.wait(120) == -signal.SIGKILL
    before = {path: written_at(path) for path in cache.glob("*/0*.shard")}
    assert len(before) == 2 and len(list(cache.glob("*/.*.shard"))) == 1
    (stored,) = cached(cache, frames)
    assert [path.stem for path in made] == ["000002", "000003", "000004"]
    assert all(written_at(path) == written for path, written in before.items())
    assert not list(cache.glob("*/.*")) and [frame.energy for frame in stored] == list(range(18))


def test_two_processes_do_the_work_once(tmp_path, made):
    frames, cache = written(tmp_path, *moved_water(18)), tmp_path / "cache"
    found: list[StoredFrames] = []
    with another_process(frames, cache, "wait") as process:
        assert process.stdout.readline() == "two\n"
        waiting = threading.Thread(target=lambda: found.extend(cached(cache, frames)))
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        process.communicate("\n", timeout=120)
        waiting.join(120)
    assert process.returncode == 0 and made == [] and len(found[0]) == 18


def test_a_file_that_changes_is_read_again(tmp_path, made):
    """Of the same size, also with the time of before; what has not changed is not, wherever it lies."""
    one, two = written(tmp_path, *moved_water(6)), written(tmp_path, *moved_water(5, seed=1), name="two.xyz")
    cache, then = tmp_path / "cache", time.time() - 3600.0
    os.utime(one, (then, then))
    cached(cache, [one, two])
    assert len(made) == 4
    cached(cache, [one, two])
    assert len(made) == 4
    text = one.read_text().replace("energy=3", "energy=7")
    assert len(text) == one.stat().st_size
    one.write_text(text)
    os.utime(one, (then, then))
    two = two.rename(tmp_path / "moved.xyz")
    (stored,) = cached(cache, [one, two])
    assert len(made) == 6 and [frame.energy for frame in stored][:6] == [0.0, 1.0, 2.0, 7.0, 4.0, 5.0]
    assert stored[6].origin == f"frame 0 of {two}"


def test_other_keys_and_cutoffs_are_other_shards(tmp_path, made):
    frames, cache = written(tmp_path, *moved_water(3)), tmp_path / "cache"
    cached(cache, frames)
    cached(cache, frames, reading=Reading(group_weights={}, origins=[Origin(weight=2.0)]))
    assert len(made) == 1
    cached(cache, frames, reading=Reading(origins=[Origin(energy_unit="Ry")]))
    stored_frame_sets([frames], Reading(), (3.0, 0.0), cache, 1, progress=False)
    assert len({path.parent for path in made}) == len(made) == 3


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    frames, cache = written(tmp_path, *moved_water(9)), tmp_path / "cache"
    iterate = building.iterate_block

    def changing(path: Path, *arguments: object):
        yield from iterate(path, *arguments)
        frames.write_text(frames.read_text() + "\n")

    monkeypatch.setattr(building, "iterate_block", changing)
    with pytest.raises(ValueError, match=r"frames\.xyz: changed while it was read"):
        cached(cache, frames)
    assert not list(cache.glob("*/*.shard"))


def test_bad_frames_are_named(tmp_path):
    """As without a cache: label, position, layout, cell; of worker processes, the first of all."""
    good, near = moved_water(9), moved_water(9)
    bad = moved_water(9)
    bad[6].calc.results["forces"][1, 2] = np.nan
    near[5].positions[1] = near[5].positions[0] + 1e-4
    one, two = written(tmp_path, *good), written(tmp_path, *bad, name="two.xyz")
    close = written(tmp_path, *near, name="close.xyz")
    with pytest.raises(ValueError, match=r"^frame 6 of .*two\.xyz: 'forces' of atom 1 \(H\) not finite"):
        cached(tmp_path / "cache", [one, two])
    with pytest.raises(ValueError, match=r"^frame 5 of .*close\.xyz: atoms 0 and 1 are 0.000173 Å apart"):
        cached(tmp_path / "cache", [one, close])
    for wrong, reason in (
        (" 3\nx\n", "frame 9 is truncated"),
        ("3\nx\nO 0 0 0\nH 0 0\nH 0 0 0\n", "frame 9 has 3 col"),
    ):
        two.write_text(one.read_text() + wrong)
        with pytest.raises(ValueError, match=rf"two\.xyz: cannot be read as extended xyz: {reason}"):
            cached(tmp_path / "cache", [one, two])
    other = [atoms.copy() for atoms in good]
    for atoms in other:
        atoms.info["REF_energy"] = 1.0
    with pytest.raises(ValueError, match=r"frame 0 of .*two\.xyz has 'REF_energy', frame 0 of .*two levels of theory"):
        cached(tmp_path / "cache", [one, written(tmp_path, *other, name="two.xyz")])


def test_worker_processes(tmp_path, monkeypatch):
    """They fill the cache, and say what is wrong; files that are read whole are theirs too."""
    monkeypatch.setattr(building, "WORTH", 1)
    monkeypatch.chdir(tmp_path)
    images = moved_water(10)
    ase.io.write("a.xyz", images, format="extxyz")
    ase.io.write("b.traj", images)
    bad = moved_water(10)
    bad[7].calc.results["energy"] = np.nan
    ase.io.write("c.xyz", bad, format="extxyz")
    with pytest.raises(ValueError, match=r"^frame 7 of c\.xyz: 'energy' is not finite"):
        cached(Path("cache"), ["a.xyz", "b.traj", "c.xyz"], workers=2)
    (stored,) = cached(Path("cache"), ["a.xyz", "b.traj"], workers=2)
    assert [frame.energy for frame in stored] == 2 * list(range(10))
    assert stored[10].origin == "frame 0 of b.traj"


def test_damaged_shards_are_made_again(tmp_path, made):
    """Or named, where the damage is met in the middle of a training."""
    frames, cache = written(tmp_path, *moved_water(9)), tmp_path / "cache"
    cached(cache, frames)
    for damage in (lambda path: os.truncate(path, path.stat().st_size - 1), Path.unlink):
        damage(made[1])
        cached(cache, frames)
        assert made[3:] == [made[1]]
        made.pop()
    (stored,) = cached(cache, frames)
    content = bytearray(made[1].read_bytes())
    content[-50] ^= 1
    made[1].write_bytes(content)
    with pytest.raises(ValueError, match=r"000001\.shard: damaged or cut short; delete it and start again"):
        stored[7].loaded()
    assert stored[0].loaded().energy == 0.0


def test_a_full_disk_leaves_nothing_half_done(tmp_path, made):
    frames, cache = written(tmp_path, *moved_water(9)), tmp_path / "cache"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*000000\.shard"):
            cached(cache, frames)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in cache.rglob("*") if "shard" in path.name]
    assert len(cached(cache, frames)[0]) == 9
