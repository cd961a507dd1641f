"""The store: what comes back, who else writes, and what a broken disk may not break."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aci_notebook import events as ev
from aci_notebook.database import MIGRATIONS, NOT_SETTLED
from aci_notebook.errors import OptionError, RunNotFound
from aci_notebook.handle import Run
from aci_notebook.history import HistoryStore
from aci_notebook.record import Home, RunRecord, fold
from aci_notebook.rows import record_of, row_of
from aci_notebook.snapshot import PlatformEvent
from aci_notebook.spec import Input, RunSpec, Secret

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
SECRET = "correct-horse-battery"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def spec(**given: object) -> RunSpec:
    return replace(RunSpec("python:3.12-slim", code="print('hi')"), **given)


def run(run_id: str = "r1", *, name: str | None = None, begun_at: datetime = START, target: str = "local", **given: object) -> RunRecord:
    begun = RunRecord(run_id, name or f"aci-{run_id}", target, begun_at, spec(**given))
    return fold(begun, ev.CreateRequested(begun_at))


def ended(record: RunRecord, kind: ev.OutcomeKind = "succeeded", *, gone: bool = True, **said: object) -> RunRecord:
    begun = record.created_at
    happened: list[ev.Event] = [
        ev.CreateAccepted(begun + timedelta(seconds=1), "westeurope"),
        ev.PhaseEntered(begun + timedelta(seconds=2), "pulling", begun + timedelta(seconds=2)),
        ev.PhaseEntered(begun + timedelta(seconds=14), "starting", begun + timedelta(seconds=14)),
        ev.PhaseEntered(begun + timedelta(seconds=18), "running", begun + timedelta(seconds=18)),
        ev.TextReceived(begun + timedelta(seconds=20), b"one\ntwo\n"),
        ev.Ended(begun + timedelta(seconds=60), ev.Outcome(kind, **said)),  # type: ignore[arg-type]
    ]
    if gone:
        happened += [ev.DeleteRequested(begun + timedelta(seconds=60)), ev.DeleteVerified(begun + timedelta(seconds=66))]
    for event in happened:
        record = fold(record, event)
    return record


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def opened() -> Iterator[Callable[..., HistoryStore]]:
    stores: list[HistoryStore] = []

    def make(home: Path, **given: object) -> HistoryStore:
        stores.append(HistoryStore(home, **{"now": lambda: at(3600), **given}))  # type: ignore[arg-type]
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(home: Path, opened: Callable[..., HistoryStore]) -> HistoryStore:
    return opened(home)


# what comes back


def test_a_record_comes_back_whole_but_for_what_must_not_be_stored(store: HistoryStore) -> None:
    shipped = Input("x", b"data", type_name="DataFrame", format="parquet", requires=("pandas",))
    full = replace(
        ended(run(env={"A": "plain"}, secrets=(Secret("K", "env:K", SECRET),), inputs=(shipped,))),
        platform_events=(PlatformEvent("Pulled", "pulled", count=2, first_at=START, last_at=at(3)),),
        homes=(Home("score", "pickle", "float", 21),),
        warnings=("careful",),
        log_path="/x/y.log",
        notebook="first.ipynb",
        kernel="k1",
        host="h1",
    )
    store.save(full)
    back = store.load("r1")
    assert back is not None
    assert back.spec.env == {"A": ""}
    assert back.spec.secrets == (Secret("K", "env:K"),)
    assert back.spec.secrets[0].value == ""
    assert back.spec.inputs == (replace(shipped, data=b""),)
    assert replace(back, spec=full.spec) == full
    assert replace(back.spec, env=full.spec.env, inputs=full.spec.inputs) == full.spec


def test_no_secret_reaches_the_disk_in_any_field_or_file(store: HistoryStore, home: Path) -> None:
    record = run(secrets=(Secret("K", "env:K", SECRET),), env={"PLAIN": "value-of-plain"}, code=f"print('{SECRET}')", tags={"t": SECRET})
    record = replace(record, warnings=(f"pip said {SECRET}",), trouble=SECRET, install=SECRET, notebook="n.ipynb")
    record = fold(record, ev.Ended(at(9), ev.Outcome("failed", reason=f"could not log in with {SECRET}", hint=SECRET)))
    store.save(record)
    back = store.load("r1")
    assert back is not None
    assert back.warnings == ("pip said ******",)
    store.close()
    for path in home.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
            assert b"value-of-plain" not in path.read_bytes(), path


def test_saving_again_replaces(store: HistoryStore) -> None:
    store.save(run())
    store.save(ended(run()))
    assert [record.state for record in store.records()] == ["ended"]


def test_how_another_kernel_ended_a_run_can_be_asked(store: HistoryStore) -> None:
    store.save(ended(run("wished"), "cancelled", reason="no longer wanted"))
    store.save(ended(run("failing"), "failed"))
    store.save(run("going"))
    wished = store.wished("wished")
    assert wished is not None
    assert (wished.kind, wished.reason) == ("cancelled", "no longer wanted")
    assert [store.wished(run_id) for run_id in ("failing", "going", "unknown")] == [None] * 3


@pytest.mark.parametrize(("kind", "told"), [("lost", "cancelled"), ("stopped", "cancelled"), ("failed", "failed")])
def test_a_run_that_was_ended_elsewhere_is_cancelled_here(store: HistoryStore, kind: ev.OutcomeKind, told: ev.OutcomeKind) -> None:
    followed = Run(run("shared"), store)
    store.save(ended(run("shared"), "cancelled", reason="no longer wanted"))
    followed.emit(ev.Ended(at(60), ev.Outcome(kind)))
    assert followed.state == told
    kept = store.load("shared")
    assert kept is not None
    assert kept.outcome == followed.record.outcome


def test_what_is_not_there_is_none(store: HistoryStore) -> None:
    assert store.load("nothing") is None
    assert store.records() == []
    assert store.unfinished() == []


def test_every_field_of_a_stored_record_has_a_default_or_a_blank(store: HistoryStore) -> None:
    """A body of another version may miss any key, hold unknown ones, or values that fit no longer."""
    body = json.loads(row_of(ended(run()), None)[-1])
    for item in fields(RunRecord):
        poorer = {key: value for key, value in body.items() if key != item.name}
        assert isinstance(record_of(json.dumps(poorer), "code", {"run_id": "r1"}), RunRecord)
        odd = {**body, item.name: {"of": ["another", "version"]}, "unknown": 1}
        assert isinstance(record_of(json.dumps(odd), None, {"run_id": "r1"}), RunRecord)
    for item in fields(RunSpec):
        poorer = {**body, "spec": {key: value for key, value in body["spec"].items() if key != item.name} | {"unknown": [1]}}
        assert record_of(json.dumps(poorer), "code", {}).spec.code == "code"
    for broken in ("", "null", "[]", '{"spec": 7}'):
        assert record_of(broken, "code", {"run_id": "r9", "name": "n"}).run_id == "r9"


def test_a_newer_database_is_read_and_written(home: Path, opened: Callable[..., HistoryStore]) -> None:
    first = opened(home)
    first.save(run())
    first.close()
    with sqlite3.connect(home / "history.sqlite") as newer:
        newer.execute("ALTER TABLE runs ADD COLUMN colour TEXT DEFAULT 'blue'")
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 7}")
    newer.close()
    second = opened(home)
    second.save(run("r2", begun_at=at(1)))
    assert [record.run_id for record in second.records()] == ["r2", "r1"]
    assert second.warnings == ()


def test_text_that_is_no_utf8_is_no_reason_to_fail(store: HistoryStore) -> None:
    odd = "caf\udce9.ipynb"
    record = replace(run(tags={"t": odd}, code=f"print('{odd}')"), notebook=odd, warnings=(odd,))
    store.save(fold(record, ev.Ended(at(1), ev.Outcome("failed", reason=f"NUL \0 and {odd}"))))
    assert store.warnings == ()
    back = store.load("r1")
    assert back is not None
    assert back.notebook == "caf?.ipynb"
    assert store.frame()["notebook"][0] == "caf?.ipynb"


# finding


@pytest.mark.parametrize(
    ("ref", "run_id"),
    [
        ("aa11", "aa11"), ("aci-aa11", "aa11"), ("aa", "aa11"), ("train", "bb22"), ("train-b", "bb22"), ("last", "cc33"),
        ("last~0", "cc33"), ("last~2", "aa11"), (" last ", "cc33"), ("score", "cc33"),
    ],
)  # fmt: skip
def test_find(store: HistoryStore, ref: str, run_id: str) -> None:
    store.save(run("aa11", begun_at=at(0)))
    store.save(run("bb22", name="train-big", begun_at=at(1)))
    store.save(run("cc33", name="score", begun_at=at(2)))
    assert store.find(ref).run_id == run_id


def test_find_gives_the_newest_run_of_a_name(store: HistoryStore) -> None:
    store.save(run("aa11", name="train", begun_at=at(0)))
    store.save(run("bb22", name="train", begun_at=at(1)))
    assert store.find("train").run_id == "bb22"
    assert store.find("tra").run_id == "bb22"


def test_find_names_candidates_and_near_names(store: HistoryStore) -> None:
    with pytest.raises(RunNotFound, match="no runs yet"):
        store.find("last")
    with pytest.raises(RunNotFound, match="no runs yet"):
        store.find("train")
    store.save(run("aa11", name="train-small", begun_at=at(0)))
    store.save(run("aa22", name="train-large", begun_at=at(1)))
    with pytest.raises(RunNotFound, match=r"more than one run\nit could be train-large, train-small"):
        store.find("train")
    with pytest.raises(RunNotFound, match="more than one run"):
        store.find("aa")
    with pytest.raises(RunNotFound, match="did you mean train-small"):
        store.find("trian-small")
    with pytest.raises(RunNotFound, match="holds 2 runs"):
        store.find("last~2")
    for odd in ("", "zzz", "%", "a%", "'; DROP TABLE runs; --"):
        with pytest.raises(RunNotFound):
            store.find(odd)


def test_unfinished_are_those_that_run_or_whose_group_may_exist(store: HistoryStore) -> None:
    store.save(ended(run("gone", begun_at=at(0))))
    store.save(run("asked", begun_at=at(1)))
    store.save(ended(run("deleting", begun_at=at(2)), gone=False))
    store.save(fold(ended(run("kept", begun_at=at(3)), gone=False), ev.GroupKept(at(99))))
    store.save(fold(ended(run("unverified", begun_at=at(4)), gone=False), ev.DeleteUnverified(at(99), "no answer")))
    refused = RunRecord("refused", "aci-refused", "azure", at(5), spec())
    store.save(fold(refused, ev.Ended(at(6), ev.Outcome("refused"))))
    store.save(fold(run("detached", begun_at=at(7)), ev.Detached(at(8))))
    assert [record.run_id for record in store.unfinished()] == ["asked", "deleting", "unverified", "detached"]


def test_records_takes_the_filters_and_a_limit(store: HistoryStore) -> None:
    for number in range(5):
        store.save(run(f"r{number}", begun_at=at(number), tags={"n": str(number % 2)}))
    assert [record.run_id for record in store.records(limit=2)] == ["r4", "r3"]
    assert [record.run_id for record in store.records(tag="n=1")] == ["r3", "r1"]
    with pytest.raises(OptionError, match="did you mean state"):
        store.records(sate="ended")


# logs


def test_log_files_are_the_owners_and_stay_below_the_home(store: HistoryStore, home: Path) -> None:
    path = store.log_path("r1")
    path.write_text("kept")
    assert store.log_path("r1").read_text() == "kept"
    assert path == home / "logs" / "r1.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert store.log_path("../../etc/x").parent == home / "logs"


def test_the_database_is_the_owners(store: HistoryStore, home: Path) -> None:
    store.save(run())
    assert {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in home.iterdir()} == dict.fromkeys(os.listdir(home), 0)


# many writers


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_history import run, ended, at
from aci_notebook.handle import Run
from aci_notebook.history import HistoryStore
store, writer, number = HistoryStore(Path(sys.argv[1])), sys.argv[2], 0
while True:
    record = run(f"{writer}-{number}", begun_at=at(number), tags={"fill": "x" * 200})
    store.save(record)
    store.save(ended(record))
    assert store.warnings == (), store.warnings
    print(number, flush=True)
    number += 1
"""


def writer(home: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(home), name, str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_write_at_once_and_a_kill_loses_nothing_that_was_saved(home: Path, opened: Callable[..., HistoryStore]) -> None:
    """Each writer says a number only after `save` returned; then it is killed at any moment."""
    writers = {name: writer(home, name) for name in ("w0", "w1", "w2")}
    said = dict.fromkeys(writers, -1)
    for name, process in writers.items():
        assert process.stdout is not None
        for _ in range(random.randint(20, 60)):
            said[name] = int(process.stdout.readline())
        process.kill()
    for name, process in writers.items():
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):
                said[name] = int(line)
        process.stdout.close()
        process.wait()
    store = opened(home)
    for name, last in said.items():
        assert last >= 19
        assert all((record := store.load(f"{name}-{number}")) is not None and record.state == "ended" for number in range(last + 1))
    assert store.warnings == ()
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_threads_share_one_store(store: HistoryStore) -> None:
    def work(name: str) -> None:
        for number in range(30):
            store.save(run(f"{name}-{number}", begun_at=at(number)))
            assert store.load(f"{name}-{number}") is not None

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.records()) == 180
    assert store.warnings == ()


def test_many_threads_open_a_new_home_at_once(home: Path, opened: Callable[..., HistoryStore]) -> None:
    stores = [opened(home) for _ in range(8)]
    together = threading.Barrier(len(stores))

    def work(number: int) -> None:
        together.wait()
        stores[number].save(run(f"r{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.warnings for store in stores] == [()] * len(stores)
    assert len(stores[0].records()) == len(stores)


def test_a_forked_child_opens_the_file_for_itself(store: HistoryStore) -> None:
    store.save(run("parent"))
    child = os.fork()
    if child == 0:
        try:
            store.save(run("child", begun_at=at(1)))
            os._exit(0 if store.load("parent") is not None and not store.warnings else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.save(run("later", begun_at=at(2)))
    assert [record.run_id for record in store.records()] == ["later", "child", "parent"]


def test_the_write_ahead_log_is_used_where_the_file_system_carries_it(store: HistoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from aci_notebook import database

    assert database.mount(r"36 35 98:0 / /mnt/my\040share rw - nfs4 server:/x rw") == ("/mnt/my share", "nfs4")
    monkeypatch.setattr(database, "on_network", lambda home: True)
    store.save(run())
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)  # a rollback journal, as a new connection names it
    db.close()
    assert not store.path.with_name("history.sqlite-wal").exists()


# a disk that does not do its part


def test_a_home_that_cannot_be_made_is_memory_and_one_warning(tmp_path: Path, opened: Callable[..., HistoryStore]) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("a file where the folder should be")
    store = opened(blocked)
    store.save(run("r1"))
    store.save(ended(run("r1")))
    store.save(run("r2", begun_at=at(1)))
    assert [record.state for record in store.records()] == ["queued", "ended"]
    assert store.find("last").run_id == "r2"
    assert [record.run_id for record in store.unfinished()] == ["r2"]
    assert list(store.frame(outcome="succeeded").run_id) == ["r1"]
    assert len(store.warnings) == 1
    assert "in memory" in store.warnings[0]
    assert store.log_path("r1").is_file()
    assert len(store.warnings) == 2
    shutil.rmtree(store.log_path("r1").parent)


def test_memory_is_written_when_the_home_can_be(tmp_path: Path, opened: Callable[..., HistoryStore]) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("")
    store = opened(blocked)
    store.save(run("r1"))
    blocked.unlink()
    store.close()
    assert opened(blocked).load("r1") is not None


def in_child(home: Path, body: str) -> str:
    """What the body prints in a process of its own."""
    head = "from test_history import *\nimport resource\nstore = HistoryStore(Path(sys.argv[1]), now=lambda: at(3600))\n"
    place = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-B", "-c", head + textwrap.dedent(body), str(home)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place.parent), str(place.parents[2])])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_read_only_home_is_read_and_goes_on_in_memory(opened: Callable[..., HistoryStore], journal: str) -> None:
    """As root nothing is read-only, so the child becomes nobody first, and the folder is one that nobody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        writer = opened(home)
        writer.save(ended(run("old")))
        writer.close()
        with sqlite3.connect(writer.path) as db:
            db.execute(f"PRAGMA journal_mode = {journal}")
        db.close()
        Path(folder).chmod(0o755)
        home.chmod(0o555)
        writer.path.chmod(0o444)
        said = in_child(
            home,
            """
            import aci_notebook.frame, aci_notebook.drawings, aci_notebook.pricing, pandas
            if os.getuid() == 0:
                os.setuid(65534)
            store.save(run("new", begun_at=at(5)))
            print(*(record.run_id for record in store.records()), len(store.frame()), len(store.warnings))
            """,
        )
        home.chmod(0o755)
    assert said.split() == ["new", "old", "2", "1"]


def test_a_full_disk_costs_no_run_and_no_row(home: Path) -> None:
    """The system refuses to let files grow, as a full disk does; later it lets them."""
    said = in_child(
        home,
        """
        for number in range(20):
            store.save(run(f"before-{number}", begun_at=at(number)))
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        full = max(path.stat().st_size for path in Path(sys.argv[1]).iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, limit[1]))
        for number in range(200):
            store.save(run(f"full-{number}", begun_at=at(100 + number), tags={"fill": "x" * 2000}))
        print(len(store.records()), len(store.warnings), store.find("last").run_id)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        store.save(run("after", begun_at=at(1000)))
        store.close()
        print(len(HistoryStore(Path(sys.argv[1])).records()))
        """,
    )
    assert said.split() == ["220", "1", "full-199", "221"]


def test_a_damaged_database_is_kept_aside_and_said(home: Path, opened: Callable[..., HistoryStore]) -> None:
    home.mkdir()
    (home / "history.sqlite").write_bytes(b"this is no database, it is a letter" * 100)
    store = opened(home)
    store.save(run())
    (kept,) = home.glob("history.sqlite.damaged-*")
    assert kept.read_bytes().startswith(b"this is no database")
    assert store.load("r1") is not None
    assert len(store.warnings) == 1
    assert str(kept) in store.warnings[0]


def test_damage_in_mid_session_keeps_the_runs_that_go_on(home: Path, opened: Callable[..., HistoryStore]) -> None:
    store, other = opened(home), opened(home)
    store.save(run("going"))
    other.save(run("theirs", begun_at=at(1)))
    for number in range(300):
        store.save(ended(run(f"done-{number}", begun_at=at(number))))
    for each in (store, other):
        each._drop()
    with store.path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(4096, size, 4096):
            file.seek(place)
            file.write(os.urandom(2048))
    store.save(run("after", begun_at=at(1000)))
    assert {record.run_id for record in store.records()} == {"going", "after"}
    assert "damaged" in store.warnings[0]
    other.save(run("also", begun_at=at(1001)))
    assert {record.run_id for record in other.records()} >= {"going", "after", "also"}
    assert len(list(home.glob("*.damaged-*"))) == 1


def test_damage_met_by_a_question_is_no_error(home: Path, opened: Callable[..., HistoryStore]) -> None:
    home.mkdir()
    (home / "history.sqlite").write_bytes(os.urandom(9000))
    store = opened(home)
    assert store.unfinished() == []
    assert "damaged" in store.warnings[0]


def test_a_database_that_is_taken_away_is_made_anew_with_the_runs_that_go_on(home: Path, opened: Callable[..., HistoryStore]) -> None:
    store = opened(home)
    store.save(run("going"))
    for path in home.iterdir():
        path.unlink()
    store.save(run("next", begun_at=at(1)))
    assert {record.run_id for record in opened(home).records()} == {"going", "next"}


def test_a_lock_that_does_not_pass_is_waited_for_only_so_long(
    home: Path, opened: Callable[..., HistoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aci_notebook import database

    monkeypatch.setattr(database, "BUSY_S", 0.05)
    store = opened(home)
    store.save(run("first"))
    with sqlite3.connect(store.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        store.save(run("second", begun_at=at(1)))
        assert store.find("last").run_id == "second"
        other.execute("COMMIT")
    other.close()
    assert "locked" in store.warnings[0]
    store.save(run("third", begun_at=at(2)))
    assert {record.run_id for record in opened(home).records()} == {"first", "second", "third"}


def test_a_default_cost_comes_from_the_price_table(store: HistoryStore) -> None:
    store.save(ended(run("here", target="local")))
    store.save(ended(run("there", target="azure", begun_at=at(1))))
    assert store.frame(name="aci-here").cost_usd[0] == 0.0
    assert store.frame(name="aci-there").cost_usd.isna()[0]  # westeurope is not in the table


def test_runs_without_a_cost_get_one_when_their_regions_price_is_known(store: HistoryStore, home: Path) -> None:
    store.save(ended(run("over", target="azure", begun_at=at(1))))
    store.save(run("running", target="azure", begun_at=at(2)))
    store.save(replace(ended(run("elsewhere", target="azure", begun_at=at(3))), location="northeurope"))
    assert store.reprice("westeurope") == 0
    meters = [("cpu", 0.05, "1 Hour"), ("memory", 0.005, "1 GB Hour")]
    rows = [{"location": "westeurope", "meter": meter, "usd": usd, "unit": unit, "as_of": "2026-11-01"} for meter, usd, unit in meters]
    (home / "prices.json").write_text(json.dumps({"prices": rows}), "utf-8")
    before = store.load("over")
    assert store.reprice("westeurope") == 1
    costs = store.frame().set_index("name").cost_usd
    assert costs["aci-over"] > 0
    assert costs["aci-running"] == 0
    assert costs[["aci-elsewhere"]].isna().all()
    assert store.load("over") == before


def test_the_question_at_load_ext_reads_only_what_is_not_settled(store: HistoryStore) -> None:
    store.save(run())
    query = f"EXPLAIN QUERY PLAN SELECT run_id FROM runs WHERE {NOT_SETTLED} ORDER BY created_at ASC, run_id ASC"
    assert any("runs_not_settled" in row[-1] for row in store._open().execute(query))
