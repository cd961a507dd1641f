"""From a run to what a person sees: the cell's thread drains events into a view, or a background thread does.

An interrupt in the cell becomes a wish; the view goes on until the deletion is on the wire, at most `AFTER_CANCEL_S`, then the cell
ends with RunCancelled. A second interrupt ends it at once; the driving thread finishes the deletion either way.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from . import events as ev
from .display.live import CellView, DetachedView
from .errors import RunCancelled
from .record import RunRecord
from .runs import Run

AFTER_CANCEL_S = 4.0
SETTLE_WAIT_S = 0.25


def watch(run: Run, view: CellView, *, onlooker: bool = False) -> None:
    """Shows the run until its end, in the thread that owns the cell. Raises RunCancelled after an interrupt, nothing else.

    An `onlooker` (`%aci logs -f`) leaves at an interrupt, and the run is untouched.
    """
    record, log, events = run.subscribe()
    cancelled_at: float | None = None
    try:
        view.open(record)
        if log:
            view.consume(record, ev.TextReceived(record.updated_at or record.created_at, log))
        follow = run.follow(events)
        while True:
            try:
                step = next(follow, None)
                if step is None:
                    break
                record, event = step
                if event is None:
                    view.tick(record)
                else:
                    view.consume(record, event)
                if cancelled_at is not None and time.monotonic() - cancelled_at > AFTER_CANCEL_S:
                    break
            except KeyboardInterrupt:
                if onlooker:
                    raise
                if cancelled_at is not None:
                    break
                cancelled_at = time.monotonic()
                _wish(run)
                follow = run.follow(events)
    finally:
        run.unsubscribe(events)
        view.close(run.record)
    _settle(run, view)
    if cancelled_at is not None:
        raise _cancelled(run)


def _settle(run: Run, view: CellView) -> None:
    """The last words on the group, in the header alone: at once, or from a thread; the cell does not wait for them."""
    if run.done() and run.wait_gone(SETTLE_WAIT_S):
        view.settle(run.record)
        return

    def later() -> None:
        run.wait_gone()
        view.settle(run.record)

    threading.Thread(target=later, name=f"aci-settle-{run.run_id}", daemon=True).start()


def _wish(run: Run) -> None:
    if run.record.spec.on_interrupt == "detach":
        run.detach()
    else:
        run.cancel("interrupted")


def _cancelled(run: Run) -> RunCancelled:
    record = run.record
    error = run.failure() if run.done() and not record.detached else None
    if isinstance(error, RunCancelled):
        return error
    if record.detached or record.spec.on_interrupt == "detach":
        words = f"no longer followed; run {record.name} goes on: %aci attach {record.run_id}, or %aci stop {record.run_id}"
    elif record.outcome is not None and record.outcome.kind != "cancelled":
        words = f"interrupted; run {record.name} had already ended ({record.outcome.kind})"
    else:
        words = f"run {record.name} is being cancelled; the service has not answered yet: %aci ps shows whether its group is gone"
    return RunCancelled(words, run_id=record.run_id, group_name=record.name)


def watch_in_background(run: Run, view: DetachedView, then: Callable[[Run], None] | None = None) -> None:
    """Shows the run from a thread of its own, through display updates alone; returns at once."""
    record, log, events = run.subscribe()
    view.open(record)
    if log:
        view.update(record, ev.TextReceived(record.updated_at or record.created_at, log))

    def body() -> None:
        try:
            for now, event in run.follow(events):
                if event is None:
                    view.tick(now)
                else:
                    view.update(now, event)
            if then is not None:
                then(run)
            run.wait_gone()
        finally:
            run.unsubscribe(events)
            view.close(run.record)

    threading.Thread(target=body, name=f"aci-view-{run.run_id}", daemon=True).start()


def show_results(run: Run, view: CellView) -> None:
    """The value of the last expression and the figures, as a local cell shows them."""
    value = run.object("value")
    if value is not None:
        view.show_value(json.loads(value.data))
    for name, item in run.objects().items():
        if name.startswith("figure-"):
            view.show_figure(item.data)


def estimator(folder: Path) -> Callable[[RunRecord, datetime], Any]:
    """What a run costs so far, for the header."""
    from .pricing import PriceBook

    return PriceBook(folder).estimate
