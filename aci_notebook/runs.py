"""The runs of this kernel, and the threads that drive them.

Every run, also one that a cell waits for, is driven by a thread of its own (`lifecycle.drive`); the cell's thread only waits on a
queue, in slices, and turns an interrupt into a wish. So PUT, DELETE and the record are never torn, and there is one path, not two.

Threads are daemons: a kernel that exits does not hang on a run. `Runs.settle` gives deletions under way a moment at exit; what it leaves
unverified stands in the history, and the next session looks at it first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from . import events as ev
from .errors import AciError, NameTaken, RunCancelled
from .handle import RETURNED, SLICE_S, RealClock, Run, Store, UserWish
from .lifecycle import drive
from .pace import Budget
from .payload import GroupPlan
from .record import RunRecord
from .stage import Backend, Course

__all__ = ["RETURNED", "RealClock", "Run", "Runs", "Store", "UserWish", "fresh_for_adoption", "raise_failure"]

EXIT_WAIT_S = 2.0
Address = tuple[str, str, str, str]  # of a group: target, subscription, resource group, name


class Runs:
    """The runs of this kernel and their threads."""

    def __init__(self, store: Store, clock: RealClock | None = None, budget: Budget | None = None) -> None:
        self._store = store
        self._clock = clock or RealClock()
        self._budget = budget or Budget()
        self._runs: dict[str, Run] = {}
        self._starting = threading.Lock()

    def start(self, record: RunRecord, plan: GroupPlan, backend: Backend, *, foreground: bool = True) -> Run:
        """Begins a run; the record is on disk before this returns. NameTaken where a run that is just beginning has its group's name: the
        service would take the second create for a change of the first group."""
        run = Run(record, self._store)
        try:
            with self._starting:
                before = self._made_way(record)
                self._drive_here(run)
            self._launch(run, plan, backend, Course(foreground=foreground), before)
        except NameTaken:
            raise
        except BaseException as error:
            self._leave_unbegun(run, error)
            raise
        return run

    def _drive_here(self, run: Run) -> None:
        """Known here before the history says that it is this kernel's: what no kernel drives is closed and collected."""
        self._runs[run.run_id] = run
        self._store.save(run.record)

    def _made_way(self, record: RunRecord) -> Run | None:
        """The run that has this one's group, or has not yet seen it gone. NameTaken where it is just making it."""
        before = self.holder(_address(record))
        if before is not None and before.record.outcome is None and before.record.group in {"unborn", "asked"}:
            raise NameTaken(
                f"run {before.run_id} is making the container group {record.name}",
                hint="choose another --name, or leave --name out: every run then gets a name of its own",
                group_name=record.name,
            )
        return before

    def holder(self, address: Address) -> Run | None:
        """The latest run of this kernel that has that group, or has not yet seen it gone."""
        return next((run for run in reversed(self.all()) if _address(run.record) == address and not run.wait_gone(0)), None)

    def adopt(self, record: RunRecord, backend: Backend, *, foreground: bool = True) -> Run:
        """Follows a run that another kernel began: its log from the first line the service still holds.

        A run that is over is given back as it ended. The log file of the kernel before stays beside the new one.
        """
        mine = self._runs.get(record.run_id)
        if mine is not None and (mine.running() or not mine.record.detached):
            return mine
        if record.outcome is not None:
            return self._over(record)
        begun = replace(fresh_for_adoption(record), log_path=self._log_for_adoption(record))
        run = Run(begun, self._store)
        try:
            self._drive_here(run)
            self._launch(run, None, backend, Course(adopt=True, foreground=foreground))
        except BaseException:
            if run.take_up():  # nobody follows it: it can be attached again
                run.emit(ev.Detached(self._clock.now()))
                run.finish()
            raise
        return run

    def _leave_unbegun(self, run: Run, error: BaseException) -> None:
        """An interrupt came while the run was handed to its thread, or no thread was to be had: the thread that has taken it up
        ends it; where none has, none will, and the record says so."""
        interrupted = isinstance(error, KeyboardInterrupt)
        if run.take_up():
            reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
            run.emit(ev.Ended(self._clock.now(), ev.Outcome("cancelled" if interrupted else "error", reason=reason, complete=False)))
            run.finish()
        elif run.record.spec.on_interrupt == "stop":
            run.cancel("interrupted")

    def _over(self, record: RunRecord) -> Run:
        run = Run(record, self._store)
        run.finish()
        return run

    def _log_for_adoption(self, record: RunRecord) -> str:
        path = Path(record.log_path) if record.log_path else self._store.log_path(record.run_id)
        try:
            if path.exists() and path.stat().st_size:
                path.replace(path.with_suffix(".before.log"))
        except OSError:
            return str(self._store.log_path(f"{record.run_id}-again"))
        return str(path)

    @contextmanager
    def reined(self) -> Iterator[None]:
        """A run that this thread begins inside is cancelled where an interrupt or an error of the display leaves the block: nobody else
        would."""
        known = set(self._runs)
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            for run_id, run in list(self._runs.items()):
                if run_id in known or run.begun_by != threading.get_ident():
                    continue
                if not interrupted:
                    run.cancel(f"its cell failed: {type(error).__name__}")
                elif run.record.spec.on_interrupt == "stop":
                    run.cancel("interrupted")
            raise

    def get(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    def all(self) -> list[Run]:
        return list(self._runs.values())

    def settle(self, timeout_s: float = EXIT_WAIT_S) -> None:
        """At kernel exit: a moment for deletions that are under way; runs that still run go on without us."""
        deadline = time.monotonic() + timeout_s
        for run in self.all():
            if run.record.outcome is not None:
                run.wait_gone(max(0.0, deadline - time.monotonic()))

    def _launch(self, run: Run, plan: GroupPlan | None, backend: Backend, course: Course, before: Run | None = None) -> None:
        """Drives the run in a thread of its own; after the deletion of the group that a run `before` it had under the same name."""

        def body() -> None:
            if not run.take_up():
                return
            try:
                if before is not None and before.record.outcome is not None:
                    self._let_go(before, run)
                drive(run.record, plan, backend, self._clock, run.wish, run.emit, self._budget, course)
            except Exception:  # a bug of ours: the record says so already, the log says where
                logging.getLogger(__name__).exception("run %s", run.run_id)
            finally:
                run.finish()

        threading.Thread(target=body, name=f"aci-run-{run.run_id}", daemon=True).start()

    def _let_go(self, before: Run, run: Run) -> None:
        """Waits until that run has seen its group gone; no longer than this one may take to start, nor than it is wanted."""
        deadline = self._clock.monotonic() + run.record.spec.start_timeout_s
        while not before.wait_gone(SLICE_S) and run.wish.kind != "cancel" and self._clock.monotonic() < deadline:
            pass


def _address(record: RunRecord) -> Address:
    return record.target, record.subscription_id, record.resource_group, record.name


def fresh_for_adoption(record: RunRecord) -> RunRecord:
    """The record as its new owner begins: what is read again from the log is counted again."""
    return replace(record, lines=0, bytes=0, gaps=0, lost_lines=0, homes=(), attempts=1, cancel_reason="", trouble="", progress="")


def raise_failure(run: Run) -> None:
    """Raises what the run ended with, if it did not succeed; a cancelled run raises a KeyboardInterrupt of ours."""
    error = run.wait().failure()
    if isinstance(error, AciError | RunCancelled):
        raise error
