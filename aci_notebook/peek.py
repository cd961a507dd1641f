"""Two questions to the history file, asked without the history's rooms, which take longer to import: for `%load_ext`, is anything left;
for completion, which runs were the last.

`NOT_SETTLED` is the history's own condition: a run that is not known to be over, or a group that is not known to be gone.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

NOT_SETTLED = "outcome IS NULL OR group_state IN ('asked', 'alive', 'deleting', 'unverified')"


def anything_left(path: Path) -> bool:
    """Whether the history has something that is not settled; True also where it cannot be read, for the store to deal with."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0.2)) as db:
            return db.execute(f"SELECT 1 FROM runs WHERE {NOT_SETTLED} LIMIT 1").fetchone() is not None  # noqa: S608  # our own words
    except sqlite3.Error:
        return True


def recent(path: Path, limit: int) -> list[tuple[str, str, str]]:
    """(run id, name, image) of the newest runs; nothing where the history cannot be read."""
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0.02)) as db:
            return db.execute("SELECT run_id, name, image FROM runs ORDER BY created_at DESC, run_id DESC LIMIT ?", (limit,)).fetchall()
    except sqlite3.Error:
        return []
