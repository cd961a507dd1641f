"""Which front end there is, and one display in it. IPython is imported only when something is shown in it.

One rendering is right everywhere, since nothing tells papermill from a person (`notebook-facts` §2.8); only two cases differ: a
kernel, whose displays can be updated in place, and a terminal, where each update would print again.
`ACI_NOTEBOOK_UI=html|text|quiet` overrides what is detected.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any, Literal

UI = Literal["auto", "html", "text", "quiet"]


def front_end() -> Literal["html", "text"]:
    """`html` where a kernel's front end draws displays and updates them; `text` in a terminal IPython or without IPython."""
    if "IPython" not in sys.modules:
        return "text"
    from IPython.core.getipython import get_ipython

    return "html" if getattr(get_ipython(), "kernel", None) is not None else "text"


def chosen_ui(ui: UI, quiet: bool = False) -> Literal["html", "text", "quiet"]:
    """What a view does: what was asked for, else ACI_NOTEBOOK_UI, else what the front end can."""
    if quiet:
        return "quiet"
    wanted: str = ui if ui != "auto" else os.environ.get("ACI_NOTEBOOK_UI", "auto").strip().lower()
    if wanted == "html":
        return "html"
    if wanted == "text":
        return "text"
    return "quiet" if wanted == "quiet" else front_end()


def front_end_display() -> Callable[..., Any]:
    """IPython's `display`, imported when it is needed."""
    from IPython import display as room

    show: Callable[..., Any] = room.display
    return show


class Display:
    """One display of a front end, updated in place; what would look the same is not sent again, unless `always`."""

    def __init__(self, run_id: str) -> None:
        self._metadata = {"aci": {"run": run_id}}
        self._handle: Any = None
        self._sent: dict[str, Any] | None = None

    @property
    def opened(self) -> bool:
        return self._handle is not None

    def show(self, bundle: dict[str, Any], always: bool = False) -> None:
        display = front_end_display()
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=f"aci-{uuid.uuid4().hex}", metadata=self._metadata)
        elif always or bundle != self._sent:
            self._handle.update(bundle, raw=True, metadata=self._metadata)
        self._sent = bundle


def reason(error: Exception) -> str:
    """An exception in a few words."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def start_timer(seconds: float, action: Callable[[], None]) -> None:
    """Do it a little later, in a thread of its own that nobody waits for."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
