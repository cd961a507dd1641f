"""The history of runs: `HistoryStore`, a SQLite file that many kernels and threads write at once.

Rules:
* `save` is called before a create and at every transition, so it is quick and never raises for trouble with the disk. What
  cannot be written is kept in memory, is found by every question like the rest, and is written as soon as the file takes it; `warnings`
  says so once. A record is on disk when `save` returns, in the sense that killing the process does not lose it (a power cut
  may lose the last moments: the write-ahead log is not flushed at every commit).
* Instants are stored as whole microseconds, so that filters are comparisons in SQL.
* The file may vanish, be replaced or be damaged while kernels run: before each use its identity is checked, a damaged one is
  moved aside with the time in its name, and runs of this process that are not over are written into the new one.
* A connection never crosses a fork.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .database import NAMES, WITH_BODIES, by_column, connect, identity, is_damage, migrate, own_file, use_journal, with_unsaved, write
from .errors import RunNotFound, did_you_mean
from .peek import NOT_SETTLED
from .record import RunRecord
from .rows import EPOCH, MICROSECOND, record_of, row_of

if TYPE_CHECKING:
    import pandas as pd

    from .events import Outcome

RETRY_S = 30.0
NO_RUNS = "the history has no runs yet; %aci ps -a lists the groups there are"
_KNOWN = ("run_id", "name", "target", "created_at", "image")

Cost = Callable[[RunRecord], float | None]


class HistoryStore:
    """The runs kept below `home`; opened when first used. Safe for threads, processes and forks.

    `cost` gives a record's cost in USD, None where no price is known; by default the price table's (`pricing`). `now` is the clock
    for filters such as since="7d".
    """

    def __init__(self, home: Path, *, cost: Cost | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.home = Path(home)
        self.path = self.home / "history.sqlite"
        self._cost = cost
        self._now = now
        self._guard = threading.RLock()
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._abandoned: list[sqlite3.Connection] = []
        self._file: tuple[int, int] | None = None
        self._writable = False
        self._retry_at = 0.0
        self._unsaved: dict[str, tuple[Any, ...]] = {}
        self._open_runs: dict[str, tuple[Any, ...]] = {}
        self._warnings: dict[str, None] = {}
        self._spare_logs: Path | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know about this history, each once."""
        return tuple(self._warnings)

    def save(self, record: RunRecord) -> None:
        """Keep the record as it is now. Never raises for trouble with the disk: see `warnings`."""
        row = row_of(record, self._cost_of(record))
        with self._here():
            if record.outcome is None or record.group not in ("gone", "kept", "unborn"):
                self._open_runs[record.run_id] = row
            else:
                self._open_runs.pop(record.run_id, None)
            self._unsaved[record.run_id] = row
            self._flush()

    def wished(self, run_id: str) -> Outcome | None:
        """How a person ended that run from another kernel; None where nobody did. To the kernel that drives it, it is only gone."""
        known = self.load(run_id)
        return known.outcome if known is not None and known.outcome is not None and known.outcome.kind == "cancelled" else None

    def load(self, run_id: str) -> RunRecord | None:
        """The whole record of that id, without values of secrets, environment and inputs; None if there is none."""
        return next(iter(self._load("run_id = ?", (run_id,))), None)

    def find(self, ref: str) -> RunRecord:
        """The run meant by an id, a group's name (its newest run), a unique prefix of either, `last`, or `last~2`.

        Raises RunNotFound with the candidates, or with the nearest names.
        """
        ref = ref.strip()
        back = re.fullmatch(r"last(?:~(\d{1,9}))?", ref)
        if back:
            found = self._load("1", (), limit=1, offset=int(back.group(1) or 0))
            if found:
                return found[0]
            count = self._select("count(*)", "1", ())[0][0]
            raise RunNotFound(f"there is no run {ref}", hint=f"the history holds {count} runs" if count else NO_RUNS)
        for column in ("run_id", "name"):
            found = self._load(f"{column} = ?", (ref,), limit=1)
            if found:
                return found[0]
        return self._find_prefix(ref)

    def _find_prefix(self, ref: str) -> RunRecord:
        found: dict[str, str] = {}
        if ref:
            span = (ref, ref + chr(0x10FFFF))
            found = {run_id: run_id for (run_id,) in self._select("run_id", "run_id >= ? AND run_id < ?", span, limit=6)}
            for run_id, name in self._select("run_id, name", "name >= ? AND name < ?", span, limit=500):
                if name not in found.values():
                    found.setdefault(run_id, name)
        record = self.load(next(iter(found))) if len(found) == 1 else None
        if record:
            return record
        if found:
            raise RunNotFound(f"{ref!r} is the beginning of more than one run", hint=_listed(found.values()))
        recent = self._select("run_id, name", "1", (), limit=200)
        near = did_you_mean(ref, dict.fromkeys([*(name for _, name in recent), *(run_id for run_id, _ in recent), "last"]))
        hint = near or (
            "%aci history lists the runs, %aci ps -a the container groups there are; last is the newest run" if recent else NO_RUNS
        )
        raise RunNotFound(f"no run has the name or id {ref!r}", hint=hint)

    def unfinished(self) -> list[RunRecord]:
        """Runs that have not ended, or whose group may still exist without having been kept; oldest first."""
        return self._load(NOT_SETTLED, (), newest_first=False)

    def records(self, limit: int | None = None, **filters: Any) -> list[RunRecord]:
        """Whole records, newest first; filters as in `frame`."""
        from .frame import checked_limit, where

        clause, arguments = where(self._now(), **filters)
        return self._load(clause, arguments, limit=checked_limit(limit))

    def frame(self, limit: int | None = None, **filters: Any) -> pd.DataFrame:
        """The runs as a DataFrame, newest first. Filters (`frame.FILTERS`) are done in SQL; a wrong one raises OptionError.

        >>> store.frame(state="failed", since="7d")
        """
        from . import frame as f

        clause, arguments = f.where(self._now(), **filters)
        columns: list[list[Any]] = [[] for _ in f.SELECTED]
        self._select(", ".join(f.SELECTED), clause, arguments, limit=f.checked_limit(limit), into=columns)
        return f.frame_of(columns, self.home)

    def reprice(self, location: str) -> int:
        """Give the runs of that region that are over and have no cost the one that is known now; how many got one."""
        found = self._load(f"location = ? AND cost_usd IS NULL AND NOT ({NOT_SETTLED})", (location,))
        priced = [record for record in found if self._cost_of(record) is not None]
        for record in priced:
            self.save(record)
        return len(priced)

    def log_path(self, run_id: str) -> Path:
        """The log file of that run, made readable by its owner only; in a temporary folder if the home takes no files."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", run_id) + ".log"
        if self._spare_logs is None:
            try:
                self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
                return own_file(self.home / "logs", name)
            except OSError as error:
                self._spare_logs = Path(tempfile.mkdtemp(prefix="aci-notebook-logs-"))
                self._warn(f"logs cannot be written below {self.home} ({error}); they go to {self._spare_logs}")
        return own_file(self._spare_logs, name)

    def close(self) -> None:
        """Write what is still unsaved, and let go of the file. A later call opens it again."""
        with self._here():
            if self._unsaved:
                self._retry_at = 0.0
                self._flush()
            self._drop()

    def _cost_of(self, record: RunRecord) -> float | None:
        if self._cost is None:
            from .pricing import PriceBook

            self._cost = PriceBook(self.home).cost
        return self._cost(record)

    def _warn(self, text: str) -> None:
        self._warnings.setdefault(text)

    def _here(self) -> threading.RLock:
        """The guard of this process: after a fork the parent's lock and connection are left alone."""
        if self._pid != os.getpid():
            self._guard = threading.RLock()
            if self._db is not None:
                self._abandoned.append(self._db)  # closing it could disturb the parent's
            self._db, self._pid = None, os.getpid()
            self._unsaved, self._open_runs = {}, {}
        return self._guard

    # -- questions ---------------------------------------------------------------------------------------------------

    def _load(
        self, clause: str, arguments: Iterable[Any], *, limit: int | None = None, offset: int = 0, newest_first: bool = True
    ) -> list[RunRecord]:
        columns = ", ".join(("body", "code", *_KNOWN))
        rows = self._select(columns, clause, arguments, limit=limit, offset=offset, newest_first=newest_first, bodies=True)
        return [record_of(body, code, _known(values)) for body, code, *values in rows]

    def _select(
        self,
        columns: str,
        clause: str,
        arguments: Iterable[Any],
        *,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
        bodies: bool = False,
        into: list[list[Any]] | None = None,
    ) -> list[tuple[Any, ...]]:
        """The rows found; or, with `into`, nothing, and the values of each column go into its list (half the time for large answers)."""
        order = "DESC" if newest_first else "ASC"
        end = f"ORDER BY created_at {order}, run_id {order} LIMIT ? OFFSET ?"
        bound = (*arguments, -1 if limit is None else limit, offset)
        with self._here():
            for attempt in (1, 2):
                try:
                    db = self._open()
                    source = with_unsaved(db, self._unsaved.values()) if self._unsaved else WITH_BODIES if bodies else "runs"
                    query = f"SELECT {columns} FROM {source} WHERE {clause} {end}"  # noqa: S608 - values are bound; the rest is ours
                    if into is None:
                        return db.execute(query, bound).fetchall()
                    by_column(db.execute(query, bound), into)
                    return []
                except sqlite3.Error as error:
                    if not self._cope(error) or attempt == 2:
                        self._warn(f"the history at {self.path} cannot be read ({error})")
        return []

    # -- writing -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        for _ in range(2):
            try:
                db = self._open()
                if self._writable:
                    write(db, self._unsaved.values())
                    self._unsaved.clear()
                return
            except sqlite3.Error as error:
                if not self._cope(error):
                    return

    def _cope(self, error: sqlite3.Error) -> bool:
        """Whether a second attempt makes sense, after trouble with the file."""
        if is_damage(error):
            self._set_aside(error)
            return True
        self._warn(f"the history at {self.path} cannot be written ({error}); it goes on in memory and is written when that is possible")
        return False

    def _set_aside(self, error: sqlite3.Error) -> None:
        mine = self._file
        self._drop()
        kept = self.path.with_name(f"{self.path.name}.damaged-{self._now():%Y%m%dT%H%M%SZ}-{os.getpid()}")
        try:
            if mine in (None, identity(self.path)):  # else another kernel has moved it already
                for tail in ("-wal", "-shm", ""):
                    source = self.path.with_name(self.path.name + tail)
                    if source.exists():
                        source.rename(kept.with_name(kept.name + tail))
                self._warn(f"the history was damaged ({error}); it is kept as {kept}, and a new one was begun")
        except OSError as reason:
            self._warn(f"the history at {self.path} is damaged ({error}) and cannot be moved ({reason}); it goes on in memory")
            self._blank()
        self._unsaved = {**self._open_runs, **self._unsaved}

    # -- the connection ----------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._db is not None:
            if self._writable:
                if self._file == identity(self.path):
                    return self._db
                self._unsaved = {**self._open_runs, **self._unsaved}
            elif time.monotonic() < self._retry_at:
                return self._db
        self._drop()
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._file = identity(self.path)
            self._db = connect(str(self.path))
            use_journal(self._db, self.home)
            migrate(self._db)
            self._writable = True
            return self._db
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise
            return self._open_for_reading(error)

    def _open_for_reading(self, error: Exception) -> sqlite3.Connection:
        self._drop()
        self._retry_at = time.monotonic() + RETRY_S
        self._warn(f"the history at {self.path} cannot be written ({error}); it goes on in memory and is written when that is possible")
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            try:
                self._db = connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True)
                self._db.execute(f"SELECT {NAMES} FROM runs LIMIT 1")  # noqa: S608 - our own column names
                return self._db
            except sqlite3.Error:
                self._drop()
        return self._blank()

    def _blank(self) -> sqlite3.Connection:
        self._retry_at = time.monotonic() + RETRY_S
        self._db = connect(":memory:")
        migrate(self._db)
        return self._db

    def _drop(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db, self._file, self._writable = None, None, False


def _known(values: list[Any]) -> Mapping[str, Any]:
    known = dict(zip(_KNOWN, values, strict=True))
    return {**known, "created_at": (EPOCH + known["created_at"] * MICROSECOND).isoformat()}


def _listed(names: Iterable[str], limit: int = 5) -> str:
    shown = list(dict.fromkeys(names))
    return "it could be " + ", ".join(shown[:limit]) + (", …" if len(shown) > limit else "")
