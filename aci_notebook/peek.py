"""One question to the history file, for `%load_ext`: is anything left? Asked without the history's rooms, which take longer to import.

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
