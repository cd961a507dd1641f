"""Verbs about runs: ps, logs, attach, wait, stop, rm, rerun, history, cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .. import line as text
from ..errors import OptionError, did_you_mean
from ..line import Parsed
from .verb import Desk, say

if TYPE_CHECKING:
    import pandas as pd

    from ..record import RunRecord
    from ..runs import Run
    from ..session import Session

FILTERS = ("state", "outcome", "image", "since", "until", "tag", "notebook", "name", "limit")


def run(desk: Desk, given: Parsed) -> Run | None:
    return desk.magics.run(given.values, None, given.command)


def ps(desk: Desk, given: Parsed) -> pd.DataFrame:
    import pandas as pd

    session = desk.session()
    known = {record.name: record for record in reversed(session.house.store.records(limit=1000))}
    rows = []
    for group in session.backend().list_groups():
        run_id = group.tags.get("aci-notebook-run", "")
        record = known.get(group.name)
        record = record if record is not None and record.run_id == run_id else None
        if not given.values.get("all") and not run_id:
            continue
        snapshot = session.backend().get(group.name)
        container = snapshot.container() if snapshot else None
        rows.append(
            {
                "run_id": run_id or None,
                "name": group.name,
                "state": record.state if record else None,
                "group_state": snapshot.group_state if snapshot else None,
                "image": container.image if container else None,
                "cpu": container.cpu if container else None,
                "memory_gb": container.memory_gb if container else None,
                "location": group.location,
                "created_at": record.created_at if record else None,
                "expires": group.tags.get("aci-notebook-expires"),
                "user": group.tags.get("aci-notebook-user"),
            }
        )
    columns = ["run_id", "name", "state", "group_state", "image", "cpu", "memory_gb", "location", "created_at", "expires", "user"]
    return pd.DataFrame(rows, columns=columns)


def logs(desk: Desk, given: Parsed) -> None:
    record = desk.record_of(given.rest)
    tail = given.values.get("tail")
    stamped = bool(given.values.get("timestamps"))
    if given.values.get("follow"):
        _follow(desk, record, tail, stamped)
        return
    output = _stamped(desk.session_of(record), record) if stamped else desk.output_of(record)
    lines = output.splitlines(keepends=True)
    sys.stdout.write("".join(lines[-tail:] if tail else lines if tail is None else []))
    if record.detached and record.outcome is None and _followed(desk, record) is None:
        say(f"… so far; nobody follows this run here: %aci logs -f {record.run_id} has the rest")


def _follow(desk: Desk, record: RunRecord, tail: int | None, stamped: bool) -> None:
    """The output from its beginning, and what comes, until the end; an interrupt ends the following, not the run."""
    followed = _run_of(desk, record)
    if followed is None:
        logs(desk, Parsed({"tail": tail} if tail is not None else {}, (record.run_id,), (), False))
        return
    from ..display.live import CellView
    from ..watch import watch

    view = CellView(followed.record, quiet=True, timestamps=stamped, tail=tail, lines_max=1_000_000)
    watch(followed, view, onlooker=True)


def _run_of(desk: Desk, record: RunRecord) -> Run | None:
    """The handle of a run, adopted where nobody here follows it; None where it is over and nobody holds it."""
    mine = _followed(desk, record)
    if mine is not None or record.outcome is not None:
        return mine
    return desk.session_of(record).adopt(record)


def _followed(desk: Desk, record: RunRecord) -> Run | None:
    """This kernel's handle of a run, unless it left the run alone (`--on-interrupt detach`)."""
    mine = desk.session().house.runs.get(record.run_id)
    return mine if mine is not None and (mine.running() or not mine.record.detached) else None


def _stamped(session: Session, record: RunRecord) -> str:
    """The output with the service's times; they exist as long as the group does."""
    from ..frames import Text, decode, line_of

    content = session.backend(record.resource_group).logs(record.name, record.name, None)
    if content is None:
        raise OptionError(
            "--timestamps",
            None,
            f"the times of {record.name} went with its group; the log file has the text alone",
            f"%aci logs {record.run_id}",
        )
    if not record.spec.has_runner:
        return content
    found = []
    for raw in content.splitlines():
        framed = line_of(raw)
        item = decode(framed.mark, framed.payload) if framed else None
        if framed and isinstance(item, Text) and not item.traceback:
            found.append(f"{framed.stamp} {item.data.decode('utf-8', 'replace').rstrip(chr(10))}\n")
    return "".join(found)


def attach(desk: Desk, given: Parsed) -> None:
    from ..display.live import CellView
    from ..events import TextReceived
    from ..launch import bring_home
    from ..watch import estimator, watch

    record = desk.record_of(given.rest)
    session = desk.session_of(record)
    followed = _run_of(desk, record)
    estimate = estimator(session.house.folder)
    if followed is None:  # over, and of another kernel: what is on disk is shown as it was
        view = CellView(record, estimate=estimate)
        view.open(record)
        at = record.ended_at or record.created_at
        view.consume(record, TextReceived(at, desk.output_of(record).encode()))
        view.close(record)
        return
    view = CellView(followed.record, estimate=estimate)
    watch(followed, view)
    bring_home(desk.magics, followed, view)


def wait(desk: Desk, given: Parsed) -> None:
    for word in given.rest or ("last",):
        followed = _run_of(desk, desk.record_of([word]))
        if followed is not None:
            followed.wait()


def stop(desk: Desk, given: Parsed) -> None:
    _end(desk, desk.record_of(given.rest), "stopped with %aci stop")


def rm(desk: Desk, given: Parsed) -> None:
    _end(desk, desk.record_of(given.rest), "removed with %aci rm")


def _end(desk: Desk, record: RunRecord, reason: str) -> None:
    """Deletes the group of a run, and says what became of it."""
    followed = _followed(desk, record)
    if followed is not None and followed.cancel(reason):
        followed.wait()
        followed.wait_gone(5)
        gone = followed.record.group == "gone"
    else:
        from ..sweep import delete_group

        gone = delete_group(desk.session_of(record), record, f"{reason} in another kernel")
    state = "is gone" if gone else f"may still exist; %aci ps shows it, and az container delete --name {record.name} removes it"
    say(f"container group {record.name} {state}")


def rerun(desk: Desk, given: Parsed) -> Run | None:
    record = desk.record_of(given.rest)
    from ..again import values_of

    mine = desk.session().house.runs.get(record.run_id)
    values, code, command = values_of(mine.record if mine else record, given.values)
    return desk.magics.run(values, code, command or given.command)


def history(desk: Desk, given: Parsed) -> pd.DataFrame:
    return desk.session().house.store.frame(**given.values)


def cost(desk: Desk, given: Parsed) -> pd.DataFrame:
    """Runs, hours and USD a day and target, newest first; with --refresh, at the prices that Azure asks now where none was known."""
    session = desk.session()
    filters = dict(given.values)
    location = filters.pop("location", None)
    if filters.pop("refresh", False):
        from ..pricing import PriceBook

        here = location or session.place.location
        say(PriceBook(session.house.folder).renewed(here))
        session.house.store.reprice(here)
    elif location:
        raise OptionError("--location", location, "says whose prices to ask for", f"%aci cost --refresh -l {location}")
    frame = session.house.store.frame(**filters)
    day = frame["created_at"].dt.date.rename("day")
    hours = (frame["run_s"].astype("Float64").fillna(0) / 3600).rename("run_hours")
    grouped = frame.assign(day=day, run_hours=hours).groupby(["day", "target"], observed=True)
    found = grouped.agg(
        runs=("run_id", "count"), run_hours=("run_hours", "sum"), cost_usd=("cost_usd", "sum"), unpriced=("cost_usd", _missing)
    )
    return found.reset_index().sort_values("day", ascending=False, ignore_index=True)


def _missing(column: Any) -> int:
    return int(column.isna().sum())


def help_verb(desk: Desk, given: Parsed) -> None:
    from .door import VERBS, overview

    if not given.rest:
        say(overview())
    elif given.rest[0] in VERBS:
        say(VERBS[given.rest[0]].page())
    elif given.rest[0].strip("%") == "aci":
        say(text.help_text())
    else:
        raise OptionError("%aci help", given.rest[0], "is not a verb", did_you_mean(given.rest[0], VERBS) or "%aci help lists them")
