"""A private home with a local ACI of its own, the faults ordered there, and what a cell shows, caught per thread."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from aci_notebook.history import HistoryStore
from aci_notebook.localserver import LocalServer
from aci_notebook.pace import Budget
from aci_notebook.presence import Presence
from aci_notebook.runs import Runs
from aci_notebook.session import House, Session
from aci_notebook.settings import Settings

ALL = ("create", "get", "logs", "delete")


@dataclass(frozen=True)
class Fault:
    """Orders for one group; `{}` is filled by the group's name. `ground`: where, if not the common one; `way`: how the run is driven."""

    name: str
    orders: tuple[dict[str, Any], ...] = ()
    ground: str = "common"
    way: str = "here"


def _each(kinds: tuple[str, ...], times: int, **do: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"on": kind, "times": times, "do": do} for kind in kinds)


NO_ATTACH = {"on": "attach", "times": 100, "do": {"status": 500}}
NULL = {"on": "logs", "times": 3, "do": {"null_content": True}}
NO_LOG = {"on": "logs", "times": 4, "after": 1, "do": {"status": 404, "code": "ContainerLogNotAvailable"}}
REFUSED = {"on": "create", "times": 9, "do": {"status": 400, "code": "InvalidContainerGroupUpdate"}}
FAULTS: tuple[Fault, ...] = (
    Fault("none"),
    Fault("polling only", (NO_ATTACH,)),
    Fault("null content", (NO_ATTACH, NULL, {**NULL, "after": 2})),
    Fault("404", (NO_ATTACH, *_each(("get",), 2, status=404, code="ResourceNotFound"), NO_LOG)),
    Fault("409 in transition", (NO_ATTACH, *_each(ALL, 2, status=409, code="ContainerGroupTransitioning"))),
    Fault("429 without Retry-After", (NO_ATTACH, *_each(ALL, 2, status=429, code="TooManyRequests"))),
    Fault("429 with Retry-After", (NO_ATTACH, *_each(ALL, 1, status=429, code="TooManyRequests", retry_after=1))),
    Fault("401 for a while", (NO_ATTACH, *_each(("get", "logs", "delete"), 2, status=401, code="ExpiredAuthenticationToken"))),
    Fault("500", (NO_ATTACH, *_each(ALL, 2, status=500, code="InternalServerError"))),
    Fault("503", _each(ALL, 2, status=503, code="ServerTimeout")),
    Fault("504", _each(ALL, 2, status=504, code="GatewayTimeout")),
    Fault("dropped before", (NO_ATTACH, *_each(ALL, 2, drop="before"))),
    Fault("dropped after", (NO_ATTACH, *_each(ALL, 2, drop="after"))),
    Fault("PUT answered by nobody", ({"on": "create", "times": 1, "do": {"drop": "after"}}, REFUSED)),
    Fault("window of 20 KB", (NO_ATTACH,), ground="narrow"),
    Fault("local ACI killed -9", ground="killed"),
    Fault("kernel killed, adopted", way="adopted"),
    Fault("history disk full", way="full"),
)  # fmt: skip


@dataclass
class Ground:
    """A home and its local ACI. Several grounds live in one process, so none of them is the kernel's own house."""

    folder: Path
    session: Session = field(init=False)
    server: LocalServer = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = Settings()
        store = HistoryStore(self.folder)
        runs = Runs(store, budget=Budget(1_000_000))  # hundreds of runs that stand for as many kernels, not for one
        self.session = Session(settings.place("local"), settings, House(self.folder, store, Presence(self.folder), runs))
        self.session.house.presence.hold()
        self.server = self.session.local_server()
        limits = {"cores": 10_000, "groups": 10_000, "writes_per_5min": 100_000, "writes_per_hour": 100_000, "reads_per_hour": 1_000_000}
        self.server.ask("/_aci/limits", limits)

    def order(self, fault: Fault, group: str) -> None:
        for order in fault.orders:
            self.server.ask("/_aci/faults", {**order, "group": group})

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The control surface of the server that runs now."""
        from aci_notebook import localserver

        found = localserver.running(self.folder)
        if found is None:
            raise OSError("no local ACI runs here")
        try:
            return found.ask(path, body)
        except HTTPError as error:
            error.close()
            raise

    def kill_server(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)

    def left(self) -> list[str]:
        return [group.name for group in self.session.backend().list_groups()]

    def close(self) -> None:
        from aci_notebook import localserver

        self.session.close()
        self.session.house.store.close()
        self.session.house.presence.release()
        found = localserver.running(self.folder)
        if found is not None:
            os.kill(found.pid, signal.SIGTERM)
            deadline = time.monotonic() + 10
            while localserver.running(self.folder) is not None and time.monotonic() < deadline:
                time.sleep(0.05)


class ByThread(io.TextIOBase):
    """A stdout that gives each thread a text of its own, where it asked for one."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self._own = threading.local()

    def catch(self) -> io.StringIO:
        self._own.text = io.StringIO()
        found: io.StringIO = self._own.text
        return found

    def let_go(self) -> None:
        self._own.text = None

    def write(self, text: str) -> int:
        return int((getattr(self._own, "text", None) or self.real).write(text))

    def flush(self) -> None:
        (getattr(self._own, "text", None) or self.real).flush()

    def isatty(self) -> bool:
        return False


class caught_by_thread:  # noqa: N801  # used as a with-statement word
    """`with caught_by_thread() as out:` every thread may call `out.catch()`."""

    def __enter__(self) -> ByThread:
        self.before = sys.stdout
        sys.stdout = ByThread(self.before)  # type: ignore[assignment]
        return sys.stdout  # type: ignore[return-value]

    def __exit__(self, *args: object) -> None:
        sys.stdout = self.before
