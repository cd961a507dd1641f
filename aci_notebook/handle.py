"""A run's handle: look at it, wait for it, end it, listen to it. It has the semantics of a future.

A `Run` folds each event into its record, keeps the output in a log file, saves the record at every transition, and passes
(record, event) on to whoever subscribed. Whoever comes late gets the log so far, then the rest: nothing twice, nothing lost. Whoever waits
is let go when the output is in and the deletion is on the wire, or when its request has not got through for `DELETE_HEAD_START_S`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from . import events as ev
from .errors import OutputMissing
from .failures import failure
from .record import RunRecord, fold
from .runlog import RunLog

SLICE_S = 0.1
DELETE_HEAD_START_S = 3.0
EXIT_WAIT_S = 2.0
RETURNED = "aci_returned"  # the variable that brings a function's value home
_QUIET = (ev.TextReceived, ev.ProgressReceived)
_ON_ITS_WAY = {"deleting", "gone", "kept", "unverified"}


class Store(Protocol):
    """Where records are kept: `history.HistoryStore`."""

    def save(self, record: RunRecord) -> None: ...

    def wished(self, run_id: str) -> ev.Outcome | None: ...

    def log_path(self, run_id: str) -> Path: ...


class RealClock:
    """The time of this machine; satisfies `lifecycle.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class UserWish:
    """The person's wish, set by any thread; satisfies `lifecycle.Wish`."""

    def __init__(self) -> None:
        self._kind = ""
        self._set = threading.Event()

    @property
    def kind(self) -> str:
        return self._kind

    def want(self, kind: str) -> None:
        if not self._kind or kind == "cancel":
            self._kind = kind
            self._set.set()

    def wait(self, timeout_s: float) -> bool:
        return self._set.wait(timeout_s)


class Run(Future[Any]):
    """One run: look at it (`record`, `state`, `log()`), wait for it (`wait`, `result`, `await`), take what came home
    (`outputs`, `save`), end it (`cancel`).

    What takes futures, takes it: `concurrent.futures.wait` and `as_completed`, `asyncio.wrap_future`.

    run = aci_notebook.submit("print('hi')")
    run.wait().state
    """

    def __init__(self, record: RunRecord, store: Store) -> None:
        super().__init__()
        self._record = record
        self._store = store
        self._lock = threading.RLock()
        self._subscribers: list[queue.SimpleQueue[tuple[RunRecord, ev.Event]]] = []
        self._callbacks: list[Callable[[Run], Any]] = []
        self._settled = threading.Event()
        self._finished = threading.Event()
        self._taken = threading.Lock()
        self._objects: dict[str, ev.ObjectArrived] = {}
        self._log = RunLog(record.log_path)
        self.begun_by = threading.get_ident()
        self.wish = UserWish()

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def record(self) -> RunRecord:
        """Everything known about the run now; frozen."""
        return self._record

    @property
    def run_id(self) -> str:
        return self._record.run_id

    @property
    def name(self) -> str:
        """The container group's name."""
        return self._record.name

    @property
    def state(self) -> str:
        """queued, pulling, starting, installing, running, collecting, cancelling, detached, or how it ended."""
        outcome = self._record.outcome
        return outcome.kind if outcome else self._record.state

    def log(self) -> str:
        """The program's output so far, whole."""
        return self.log_bytes().decode("utf-8", "replace")

    def log_bytes(self) -> bytes:
        """The program's output so far, byte for byte."""
        with self._lock:
            return self._log.read()

    def object(self, name: str) -> ev.ObjectArrived | None:
        """What came home under that name (`value`, `error`, `figure-0`, `var:x`), or None."""
        return self._objects.get(name)

    def objects(self) -> dict[str, ev.ObjectArrived]:
        """Everything that came home, in order."""
        return dict(self._objects)

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.name}: {self.state}>"

    # -- waiting --------------------------------------------------------------------------------------------------

    def done(self) -> bool:
        """True when the output and the outputs are in and the group's deletion is on the wire."""
        return self._settled.is_set()

    def running(self) -> bool:
        return not self.done()

    def cancelled(self) -> bool:
        return self._record.outcome is not None and self._record.outcome.kind == "cancelled"

    def wait(self, timeout: float | None = None) -> Run:
        """Waits for the end and returns the run; TimeoutError after `timeout` seconds. An interrupt leaves the run going."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._settled.wait(SLICE_S):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"run {self.name} is still {self.state} after {timeout:g} s")
        return self

    def wait_gone(self, timeout: float | None = None) -> bool:
        """Waits until the group is verified gone (or named as unverified, or kept); False if it is not yet."""
        return self._finished.wait(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception that `result()` raises, or None: what the run ended with, or why what came home cannot be read here."""
        self.wait(timeout)
        return self._answer()[1]

    def failure(self) -> BaseException | None:
        """What the run ended with so far, or None; of what came home it reads the error alone."""
        remote = self._objects.get("error")
        return failure(self._record, remote.data if remote else None)

    def _answer(self) -> tuple[Any, BaseException | None]:
        """(what `result()` returns, what it raises); what came home is decoded once for both."""
        error = self.failure()
        if error is not None:
            return None, error
        found, unreadable = self.read()
        if unreadable is not None:
            return None, unreadable
        return found.get(RETURNED) if self._record.spec.function else found, None

    def result(self, timeout: float | None = None) -> Any:
        """What the function returned, or the -o variables by name. Raises what `exception()` says."""
        self.wait(timeout)
        value, error = self._answer()
        if error is not None:
            raise error
        return value

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """What newer Pythons' asyncio asks a future, in place of `done`, `cancelled`, `result` and `exception`."""
        if not self.done() or self.cancelled():
            return self.done(), self.done(), None, None
        return True, False, *self._answer()

    def outputs(self) -> dict[str, Any]:
        """The -o variables that came home, by name. OutputMissing names those that cannot be read here."""
        found, unreadable = self.read()
        if unreadable is not None:
            raise unreadable
        return found

    def read(self) -> tuple[dict[str, Any], OutputMissing | None]:
        """The variables that came home and can be read here, by name; the error that names the others, caused by the first one's."""
        from .exchange import decode

        found: dict[str, Any] = {}
        left: dict[str, Exception] = {}
        for name, item in self._objects.items():
            if name.startswith("var:"):
                try:
                    found[name[4:]] = decode(item.data)
                except Exception as error:  # noqa: BLE001  # unpickling runs anybody's code
                    left[name[4:]] = error
        if not left:
            return found, None
        function = self._record.spec.function
        words = "; ".join(
            f"{f'what {function} returned' if function else name} came home and cannot be read here: {type(error).__name__}: {error}"
            for name, error in left.items()
        )
        hint = "install here what it is made with, or bring plain data home" + ("; the other outputs are here" if found else "")
        unreadable = OutputMissing(f"{words} (run {self.name})", hint=hint, run_id=self.run_id, group_name=self.name)
        unreadable.__cause__ = next(iter(left.values()))
        return found, unreadable

    def save(self, folder: str | os.PathLike[str] = ".") -> None:
        """Writes the files and folders of -o that came home below a folder of this machine. OutputMissing names what could not be."""
        from .exchange import unpack

        left: dict[str, str] = {}
        for name, item in self._objects.items():
            if name.startswith("path:"):
                left |= unpack(item.data, Path(folder))
        if left:
            words = "; ".join(f"{name}: {why}" for name, why in left.items())
            raise OutputMissing(f"{words} (run {self.name})", hint="the program itself succeeded; the other files are here")

    def __await__(self) -> Generator[Any, None, Run]:
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        def tell(_: Run) -> None:
            try:
                loop.call_soon_threadsafe(end)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        self.add_done_callback(tell)
        yield from over.__await__()
        return self

    def add_done_callback(self, call: Callable[[Run], Any]) -> None:
        """Calls `call(run)` at the end, from a thread; at once if it is over."""
        with self._lock:
            if not self._settled.is_set():
                self._callbacks.append(call)
                return
        call(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Run stays in its kernel; run.result() or run.outputs() can travel, and %aci attach takes run.run_id in another")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.done():
            self.cancel("left its with block")

    # -- ending ---------------------------------------------------------------------------------------------------

    def cancel(self, reason: str = "cancelled") -> bool:
        """Asks for the end: the group is deleted. False if the run is over already, or was left alone."""
        with self._lock:
            if self._record.outcome is not None or self.done():
                return False
            self.emit(ev.CancelRequested(datetime.now(UTC), reason))
        self.wish.want("cancel")
        return True

    def detach(self) -> None:
        """Stops following; the run goes on and is bounded by its time-out."""
        self.wish.want("detach")

    # -- events ---------------------------------------------------------------------------------------------------

    def subscribe(self) -> tuple[RunRecord, bytes, queue.SimpleQueue[tuple[RunRecord, ev.Event]]]:
        """(record now, log so far, what comes from here on)."""
        with self._lock:
            events: queue.SimpleQueue[tuple[RunRecord, ev.Event]] = queue.SimpleQueue()
            self._subscribers.append(events)
            return self._record, self.log_bytes(), events

    def unsubscribe(self, events: queue.SimpleQueue[tuple[RunRecord, ev.Event]]) -> None:
        with self._lock:
            if events in self._subscribers:
                self._subscribers.remove(events)

    def follow(self, events: queue.SimpleQueue[tuple[RunRecord, ev.Event]]) -> Iterator[tuple[RunRecord, ev.Event | None]]:
        """(record, event) as they come, (record, None) about every SLICE_S of silence; ends with the run."""
        record = self._record
        while True:
            settled = self._settled.is_set()
            try:
                item = events.get(block=not settled, timeout=SLICE_S)
            except queue.Empty:
                if settled:
                    return
                yield record, None  # never ahead of the events: what they bring is shown once, in order
            else:
                record = item[0]
                yield item

    def emit(self, event: ev.Event) -> RunRecord:
        """Folds the event, keeps what it brings, tells the subscribers. Called by the driving thread, and by `cancel`."""
        if isinstance(event, ev.Ended) and event.outcome.kind in {"lost", "stopped"}:
            event = replace(event, outcome=self._store.wished(self.run_id) or event.outcome)  # not somebody: she herself, in another kernel
        with self._lock:
            if isinstance(event, ev.TextReceived):
                unwritten = self._log.add(event.data)
                if unwritten is not None:
                    self.emit(
                        ev.Warned(datetime.now(UTC), f"the log file cannot be written ({unwritten.strerror}); the output is kept in memory")
                    )
            elif isinstance(event, ev.ObjectArrived):
                self._objects[event.name] = event
            self._record = fold(self._record, event)
            if not isinstance(event, _QUIET):
                self._store.save(self._record)
            for events in self._subscribers:
                events.put((self._record, event))
            record = self._record
        if record.detached or (record.outcome is not None and record.group in _ON_ITS_WAY):
            self._settle()
        elif isinstance(event, ev.Ended):
            self._settle_soon()
        return record

    def take_up(self) -> bool:
        """True for the one who may drive this run: its thread, or who gives it up before the thread has begun."""
        return self._taken.acquire(blocking=False)

    def _settle_soon(self) -> None:
        """A deletion whose request does not get through must not hold whoever waits; the driving thread goes on with it."""
        timer = threading.Timer(DELETE_HEAD_START_S, self._settle)
        timer.daemon = True
        timer.start()

    def _settle(self) -> None:
        with self._lock:
            if self._settled.is_set():
                return
            self._settled.set()
            callbacks, self._callbacks = self._callbacks, []
        try:
            error = self.failure()
        except Exception as failed:  # noqa: BLE001  # a class of somebody else's that cannot be rebuilt must not keep a group from its deletion
            error = failed
        if error is not None:
            self.set_exception(error)  # whoever waits for several futures hears of it
        else:
            self.set_result(None)
        for call in callbacks:
            try:
                call(self)
            except Exception:  # somebody else's callback must not keep a group from its deletion
                logging.getLogger(__name__).exception("a callback of run %s", self.run_id)

    def finish(self) -> None:
        """The driving thread is done with this run."""
        with self._lock:
            self._log.close()
        self._settle()
        self._finished.set()
