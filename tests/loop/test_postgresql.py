"""The store in a PostgreSQL database, on a server of its own that listens to a socket."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mollifield_train.active.status import status_of
from mollifield_train.active.store import Store
from mollifield_train.cli import main
from tests.loop.test_rounds import FAILED, LABELLED, in_this_process, make_config, run
from tests.loop.test_store import labelled

pytest.importorskip("ase_db_backends", reason="pip install ase-db-backends psycopg2-binary")
pytest.importorskip("psycopg2", reason="pip install psycopg2-binary")
SERVER = {"user": "nobody"} if os.getuid() == 0 else {}  # which refuses to run as root


def program(name: str) -> str:
    """Debian keeps them beside the path."""
    places = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"there is no {name}: apt-get install postgresql")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a database that nobody has used."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
    try:
        if SERVER:
            shutil.chown(folder, SERVER["user"])
        initdb = [program("initdb"), "-D", str(folder / "data"), "-U", "loop", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/", **SERVER)
        command = [program("postgres"), "-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses=", "-F"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/", **SERVER) as process:
            url = f"postgresql://loop@/postgres?host={folder}"
            try:
                wait_for(url)
                yield url
            finally:
                process.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(url: str) -> None:
    import psycopg2

    for _ in range(600):
        try:
            return psycopg2.connect(url).close()
        except psycopg2.OperationalError:
            time.sleep(0.1)
    raise AssertionError("the server does not start")


@pytest.fixture
def url(server: str) -> Iterator[str]:
    yield server
    Store(server).clear()


def test_a_run_is_what_it_is_in_a_file(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)
    monkeypatch.setattr("mollifield_train.active.report.write_report", lambda *arguments: None)
    found = []
    for name, store in (("file", None), ("server", url)):
        (tmp_path / name).mkdir()
        config = make_config(tmp_path / name, store=store, rounds=1, arms={"active": {"kind": "most_uncertain"}})
        results = run(config)
        frames = Store(store or config.directory / "frames.db").frames()
        keep = [{k: v for k, v in f.columns.items() if k not in ("seconds", "host")} for f in frames]
        found.append((results, keep, [f.atoms.positions.tolist() for f in frames]))
        assert status_of(config.directory)["arms"]["active"][LABELLED] == 3
    assert found[0] == found[1]
    assert not (config.directory / "frames.db").exists()
    with pytest.raises(ValueError, match="holds frames, of another run"):
        run(config.model_copy(update={"directory": tmp_path / "other"}))
    assert main(["export-dataset", str(config.directory), "-o", str(tmp_path / "set.extxyz")]) == 0


KILLED = """
import os, signal, sys
from mollifield_train.active.store import Store
store = Store(sys.argv[1])
with store._database as database:
    database.update(1, status="failed")
    database.delete([2])
    print("half way", flush=True)
    signal.pause()
"""


def test_a_killed_process_leaves_nothing_half_done(url: str) -> None:
    """Nor a lock: the next one reads and writes."""
    store = Store(url)
    store.add_given([labelled(1), labelled(2)])
    first, second = store.frames()
    script = KILLED.replace("update(1", f"update({first.id}").replace("delete([2]", f"delete([{second.id}]")
    with subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "half way\n"
        process.kill()
    assert [frame.columns for frame in store.frames()] == [first.columns, second.columns]
    store.record_failure(first.id, "at last", 1)
    assert len(store.frames(status=FAILED)) == 1


def test_an_error_takes_all_back(url: str) -> None:
    store = Store(url)
    with pytest.raises(RuntimeError, match="half way"), store._database as database:
        database.write(labelled(1), arm="x")
        raise RuntimeError("half way")
    assert store.frames() == []


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"postgresql://me@/none\?host=.*: .*No such file") as raised:
        Store(f"postgresql://me:secret@/none?host={tmp_path}")
    assert "secret" not in str(raised.value)
