"""Groups that a kernel left behind: named, verified, followed or deleted by the next one. Only groups that carry our tag are touched.

Whose a group is. A kernel lives as long as it holds its lock in the data folder (`presence`); that says something only about runs that this
folder's history knows, begun or taken over on this host. Of all others (another host, another data folder, another person) nothing
is known but the `expires` tag: only a group past it is collected. A group that `--keep` kept stays: `%aci rm` is for those.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import events as ev
from .errors import AciError, OptionError
from .payload import EXPIRES_TAG, HOST_TAG, KERNEL_TAG, RUN_TAG, USER_TAG
from .record import RunRecord, fold

if TYPE_CHECKING:
    from .history import HistoryStore
    from .presence import Presence
    from .session import Session
    from .snapshot import GroupSnapshot

AT_ONCE = 8
NAMED_AT_LOAD = 3
NEVER_ASKED = "its kernel ended before it had asked for the container group"
COLUMNS = ("run_id", "name", "resource_group", "location", "user", "host", "expires", "action", "reason")


# -- at %load_ext -------------------------------------------------------------------------------------------------


def word_at_load(store: HistoryStore, presence: Presence) -> str | None:
    """One line on what still ran, or was not verified as deleted, when a kernel that is gone was last seen; None for nothing.

    Reads the history alone: no service is asked, so "when last seen" is all that can be said.
    """
    if not store.path.exists():
        return None
    mine = [record for record in store.unfinished() if not presence.alive(record.kernel)]
    running = [record for record in mine if record.outcome is None and record.group != "unborn"]
    unsure = [record for record in mine if record.outcome is not None]
    if running:
        names = ", ".join(f"{record.name} ({record.state})" for record in running[-NAMED_AT_LOAD:])
        more = f" and {len(running) - NAMED_AT_LOAD} more" if len(running) > NAMED_AT_LOAD else ""
        what = "run was" if len(running) == 1 else "runs were"
        also = f", {len(unsure)} deleted without proof" if unsure else ""
        ref = running[-1].run_id
        tail = f"%aci attach {ref} follows, %aci gc deletes"
        return f"aci_notebook: {len(running)} {what} still going when last seen: {names}{more}{also}. {tail}"
    if unsure:
        what = "container group's deletion was" if len(unsure) == 1 else "container groups' deletions were"
        return f"aci_notebook: {len(unsure)} {what} never confirmed ({unsure[-1].name}); the next run looks again, and so does %aci gc"
    return None


# -- at the first run of a session --------------------------------------------------------------------------------


def verify_in_background(session: Session) -> threading.Thread | None:
    """Looks again for groups whose deletion a kernel that is gone began and nobody verified, and closes what it had not come to ask for;
    returns the thread, None for nothing to do."""
    records = [record for record in left_behind(session) if record.outcome is not None or record.group == "unborn"]
    if not records:
        return None

    def body() -> None:
        for record in records:
            try:
                delete_group(session, record, NEVER_ASKED)
            except AciError:
                return  # no credential, no service: the history still says unverified, the next session looks again

    thread = threading.Thread(target=body, name="aci-sweep", daemon=True)
    thread.start()
    return thread


def left_behind(session: Session) -> list[RunRecord]:
    """Unfinished records of this session's place that no living kernel drives."""
    shared = session.house
    return [record for record in shared.store.unfinished() if _is_here(session, record) and not _is_driven(session, record)]


def _is_here(session: Session, record: RunRecord) -> bool:
    return record.target == session.place.target and record.subscription_id == session.place.subscription


def _is_driven(session: Session, record: RunRecord) -> bool:
    run = session.house.runs.get(record.run_id)
    if run is not None:
        return not run.wait_gone(0)
    return record.kernel != session.house.presence.id and session.house.presence.alive(record.kernel)


# -- taking over --------------------------------------------------------------------------------------------------


def take_over(session: Session, record: RunRecord) -> RunRecord:
    """The record with this kernel as its owner. Raises OptionError where another living kernel follows the run."""
    presence = session.house.presence
    if record.outcome is None and record.kernel != presence.id and presence.alive(record.kernel):
        raise OptionError(
            "run",
            record.name,
            f"is followed by another kernel that lives{f' ({record.notebook})' if record.notebook else ''}",
            f"%aci logs {record.run_id} shows its output so far; shut that kernel down to take the run over",
        )
    return replace(record, kernel=presence.id, host=socket.gethostname())


# -- deleting -----------------------------------------------------------------------------------------------------


def delete_group(session: Session, record: RunRecord, why: str = "deleted from another kernel") -> bool:
    """Deletes the group of a run that nobody drives; the record says what became of it. True when it is verified gone."""
    from .removal import remove
    from .runs import RealClock

    latest = _ended(session, record, why)

    def tell(event: ev.Event) -> None:
        nonlocal latest
        latest = fold(latest, event)
        session.house.store.save(latest)

    return remove(session.backend(record.resource_group), RealClock(), record.name, record.run_id, tell, sure=False)


def _ended(session: Session, record: RunRecord, why: str) -> RunRecord:
    """The record as that of a run that is over, and kept so."""
    if record.outcome is not None:
        return record
    over = fold(record, ev.Ended(datetime.now(UTC), ev.Outcome("cancelled", reason=why, complete=False)))
    session.house.store.save(over)
    return over


def gc(session: Session, *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Deletes the groups of ours whose owner is gone; one row for each group of ours, with what was done and why. `dry_run` only tells."""
    now = datetime.now(UTC)
    known = {record.run_id: record for record in session.house.store.unfinished()}
    places = {session.place.resource_group, *(record.resource_group for record in known.values() if _is_here(session, record))}
    rows, jobs = [], []
    seen: set[str] = set()
    for place in sorted(place for place in places if place):
        for group in session.backend(place).list_groups():
            run_id = group.tags.get(RUN_TAG)
            if not run_id:
                continue
            seen.add(run_id)
            record = session.house.store.load(run_id)  # as it stands now: a kernel may have taken the run over meanwhile
            orphan, reason = _judge(session, group, record, now)
            row = _row(group, place, "would delete" if dry_run and orphan else "left", reason)
            rows.append(row)
            if orphan and not dry_run:
                jobs.append((row, group, place))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="aci-gc") as pool:
        for row, said in zip((job[0] for job in jobs), pool.map(lambda job: _collect(session, *job[1:]), jobs), strict=True):
            row["action"], row["reason"] = said
    if not dry_run:
        _settle_records(session, known, seen)
    return rows


def _judge(session: Session, group: GroupSnapshot, record: RunRecord | None, now: datetime) -> tuple[bool, str]:
    """(whether nobody owns the group, why)."""
    presence = session.house.presence
    if record is not None:
        if _is_driven(session, record):
            return False, "its kernel lives"
        if record.group == "kept":
            return False, "kept by --keep; %aci rm deletes it"
        if record.host == socket.gethostname() and record.kernel != presence.id:
            return True, "its kernel is gone"
        if record.kernel == presence.id:
            return (True, "its run is over") if record.outcome is not None else (record.detached, "detached by this kernel")
    elif presence.alive(group.tags.get(KERNEL_TAG, "")):
        return False, "its kernel lives"
    expires = _instant(group.tags.get(EXPIRES_TAG))
    if expires is not None and expires < now:
        return True, "past its time"
    return False, "of another host or data folder, and not past its time"


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _row(group: GroupSnapshot, place: str, action: str, reason: str) -> dict[str, Any]:
    tags = group.tags
    values = (tags.get(RUN_TAG), group.name, place, group.location, tags.get(USER_TAG), tags.get(HOST_TAG), tags.get(EXPIRES_TAG), action)
    return dict(zip(COLUMNS, (*values, reason), strict=True))


def _collect(session: Session, group: GroupSnapshot, place: str) -> tuple[str, str]:
    """(what became of a group that nobody owned when it was listed, why); it is looked at again: somebody may have taken it over."""
    from .removal import remove
    from .runs import RealClock

    run_id = group.tags[RUN_TAG]
    with session.house.presence.alone():
        record = session.house.store.load(run_id)
        orphan, reason = _judge(session, group, record, datetime.now(UTC))
        if not orphan:
            return "left", reason
        record = _ended(session, record, "collected by %aci gc: its kernel was gone") if record is not None else None
    if record is not None:
        gone = delete_group(session, record)
    else:
        gone = remove(session.backend(place), RealClock(), group.name, run_id, lambda event: None, sure=False)
    return "deleted" if gone else "unverified", reason


def _settle_records(session: Session, known: Container[str], seen: Container[str]) -> None:
    """Runs that the history calls unfinished, now as before the listing, and whose group is not in any list: looked at once more, and
    closed."""
    for record in left_behind(session):
        if record.run_id in known and record.run_id not in seen:
            unborn = record.group == "unborn"
            delete_group(session, record, NEVER_ASKED if unborn else "its kernel ended, and its container group is gone")
