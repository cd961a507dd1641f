"""Groups on disk: one folder each, under a generated name, readable by their owner alone.

``counts.json`` counts the groups there were (kept through restarts: a rehearsal proves with it that nothing is left).
``groups/<id>/group.json`` holds the group with its secrets (mode 0600; needed to start containers again after a
restart of the server) and goes away with the group. Written whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .runtimes.supervise import write_json
from .states import Life, Phase, PlatformEvent, StateView

Kind = TypeVar("Kind", StateView, PlatformEvent)


def private_folder(path: Path) -> Path:
    """`path`, made if missing, with access for its owner alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


class Counts(NamedTuple):
    """How many groups were ever created and deleted on a state folder."""

    created: int = 0
    deleted: int = 0


class Store:
    """The groups' folders below a state folder, and how many there were."""

    def __init__(self, state_dir: Path) -> None:
        self._counts = state_dir / "counts.json"
        self._root = private_folder(state_dir / "groups")

    def folder(self, group_id: str) -> Path:
        """The group's own folder, made if missing."""
        return private_folder(self._root / group_id)

    def save(self, group_id: str, record: dict[str, Any]) -> None:
        write_json(self.folder(group_id) / "group.json", record)

    def load(self) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """(id, record) of every group on disk; None for a record that is missing or cannot be read."""
        for folder in sorted(self._root.iterdir()):
            try:
                record = json.loads((folder / "group.json").read_bytes())
            except (FileNotFoundError, ValueError):
                record = None
            yield folder.name, record if isinstance(record, dict) else None

    def remove(self, group_id: str) -> None:
        """Forget the group. The record goes first: what is left without one is rubbish (see `load`)."""
        folder = self._root / group_id
        (folder / "group.json").unlink(missing_ok=True)
        for top, names, _ in os.walk(folder):  # from above: a job may have taken its folders' permissions away
            for path in (Path(top, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder)

    def save_counts(self, counts: Counts) -> None:
        write_json(self._counts, counts._asdict())

    def load_counts(self, groups: int) -> Counts:
        """The counts of earlier servers, made to agree with the `groups` on disk.

        A count is written right after its group was saved or removed: a server killed in between left one too few.
        """
        try:
            created, deleted = Counts(**json.loads(self._counts.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            created = deleted = 0
        return Counts(max(created, deleted + groups), max(deleted, created - groups))


def dump_instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def load_instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def dump_life(life: Life) -> dict[str, Any]:
    """`life` as JSON; `load_life` is its inverse."""
    return {name: _plain(value) for name, value in asdict(life).items()}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Phase():
            return value.value
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def load_life(record: dict[str, Any]) -> Life:
    return Life(
        phase=Phase(record["phase"]),
        current=_load(StateView, record["current"]),
        previous=_load(StateView, record["previous"]),
        restarts=record["restarts"],
        events=tuple(load_event(event) for event in record["events"]),
        attempt=record["attempt"],
        starting=record["starting"],
    )


def dump_event(event: PlatformEvent) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(event).items()}


def load_event(record: dict[str, Any]) -> PlatformEvent:
    event = _load(PlatformEvent, record)
    assert event is not None
    return event


def _load(kind: type[Kind], record: dict[str, Any] | None) -> Kind | None:
    if record is None:
        return None
    instants = {field.name for field in fields(kind) if field.name.endswith("_at")}
    members: dict[str, Any] = {name: load_instant(value) if name in instants else value for name, value in record.items()}
    return kind(**members)
