"""The history's SQLite file: its migrations, its journal, and the few statements that write it.

MIGRATIONS is a list; `PRAGMA user_version` counts how many a file has seen. Append to it, never edit; only add columns with
defaults, because an older version of this package may be writing the same file from another kernel. Bodies are apart from the rows
that filters scan. Rows that the file did not take yet stand in a temporary table, and the view `known` puts them in front of the
file's own, so that questions are the same either way.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .peek import NOT_SETTLED
from .rows import COLUMNS

BUSY_S = 2.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (run_id TEXT PRIMARY KEY, name TEXT, state TEXT, outcome TEXT, exit_code INTEGER,
        created_at INTEGER NOT NULL, started_at INTEGER, finished_at INTEGER, queued_s REAL, pull_s REAL, run_s REAL,
        image TEXT, cpu REAL, memory_gb REAL, spot INTEGER, location TEXT, target TEXT, cost_usd REAL, peak_memory_gb REAL,
        cpu_s REAL, log_lines INTEGER, log_bytes INTEGER, notebook TEXT, code TEXT, tags TEXT, error TEXT,
        group_state TEXT, updated_at INTEGER)""",
        "CREATE TABLE bodies (run_id TEXT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE INDEX runs_created ON runs (created_at, run_id)",
        "CREATE INDEX runs_name ON runs (name)",
        f"CREATE INDEX runs_not_settled ON runs (created_at, run_id) WHERE {NOT_SETTLED}",
    ),
)

NAMES = ", ".join(COLUMNS)
_MARKS = ", ".join("?" * len(COLUMNS))
_UPSERT_RUN = (
    f"INSERT INTO runs ({NAMES}) VALUES ({_MARKS}) ON CONFLICT (run_id) DO UPDATE SET "  # noqa: S608 - our own column names
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
)
_UPSERT_BODY = "INSERT INTO bodies (run_id, body) VALUES (?, ?) ON CONFLICT (run_id) DO UPDATE SET body = excluded.body"
WITH_BODIES = "runs JOIN bodies USING (run_id)"
_UNSAVED = (
    f"CREATE TEMP TABLE unsaved ({NAMES}, body)",
    f"""CREATE TEMP VIEW known AS SELECT {NAMES}, body FROM temp.unsaved
    UNION ALL SELECT {NAMES}, body FROM main.runs JOIN main.bodies USING (run_id)
    WHERE run_id NOT IN (SELECT run_id FROM temp.unsaved)""",  # noqa: S608 - our own column names
)
_NETWORK_FILE_SYSTEMS = re.compile(r"nfs|cifs|smb|9p|afs|sshfs|gluster|lustre|beegfs|ceph|vboxsf|drvfs|virtiofs|davfs")


def connect(where: str, *, uri: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(where, timeout=BUSY_S, check_same_thread=False, isolation_level=None, uri=uri)
    db.execute("PRAGMA temp_store = MEMORY")
    return db


def use_journal(db: sqlite3.Connection, home: Path) -> None:
    wanted = "truncate" if on_network(home) else "wal"
    try:
        if db.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
            db.execute(f"PRAGMA journal_mode = {wanted}")
    except sqlite3.OperationalError:
        pass  # another kernel is changing it at this moment: the file says which journal holds, and every connection follows it
    db.execute("PRAGMA synchronous = NORMAL")


def on_network(home: Path) -> bool:
    """Whether several machines may see that folder: a write-ahead log needs memory that all of its writers share."""
    if str(home).startswith("\\\\"):
        return True
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
        here = home.resolve()
        mounts = [(point, kind) for point, kind in map(mount, lines) if here.is_relative_to(point)]
    except (OSError, IndexError):
        return False
    return bool(mounts) and _NETWORK_FILE_SYSTEMS.search(max(mounts, key=lambda mount: len(mount[0]))[1]) is not None


def mount(line: str) -> tuple[str, str]:
    left, _, right = line.partition(" - ")
    point = re.sub(r"\\(\d{3})", lambda found: chr(int(found.group(1), 8)), left.split(" ")[4])
    return point, right.split(" ")[0]


def migrate(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA user_version").fetchone()[0] >= len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        seen = db.execute("PRAGMA user_version").fetchone()[0]  # another kernel may have been first
        for statement in (text for migration in MIGRATIONS[seen:] for text in migration):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {max(seen, len(MIGRATIONS))}")
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise


def write(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for row in rows:
            db.execute(_UPSERT_RUN, row[:-1])
            db.execute(_UPSERT_BODY, (row[0], row[-1]))
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise


def roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


def is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def with_unsaved(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> str:
    """Where to select from, so that these rows stand in front of the file's."""
    if not db.execute("SELECT 1 FROM sqlite_temp_master WHERE name = 'known'").fetchone():
        for statement in _UNSAVED:
            db.execute(statement)
    db.execute("DELETE FROM temp.unsaved")
    db.executemany(f"INSERT INTO temp.unsaved VALUES ({_MARKS}, ?)", rows)  # noqa: S608 - our own marks
    return "temp.known"


def by_column(found: sqlite3.Cursor, columns: list[list[Any]]) -> None:
    """Few rows at a time, while they are in the processor's cache."""
    for column in columns:
        column.clear()
    while rows := found.fetchmany(256):
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(values)


def own_file(folder: Path, name: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    return path
