"""What a person waits for while she looks, in figures: `python tests/benchmarks/screen.py`. Each beside plain work on the same bytes.

* lines: 100,000 lines through the output of a cell, plain and coloured, beside splitting and decoding them
* view: 200,000 lines through the launcher's log view in pieces of 500; the slowest piece; a file of as many lines, opened at its end
* tab: completion through a kernel's `complete_request`, the first time and the middle of later ones, beside IPython's own of a variable
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from jupyter_client.manager import start_new_kernel

from aci_notebook.display.stream import CellStream
from aci_notebook.launcher.logview import LogView

ROUNDS = 5
PIECE = 500
TEXTS = ("%%aci --me", "%%aci --image ", "%aci logs ", "%%aci -i fr", "%%aci --location ea", "%aci lo")


def ms(act: Callable[[], object]) -> float:
    """How long `act` takes, in milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def middle_ms(act: Callable[[], object], rounds: int = ROUNDS) -> float:
    return statistics.median(ms(act) for _ in range(rounds))


def lines() -> None:
    for name, colour in (("plain", b""), ("coloured", b"\x1b[31m")):
        data = b"".join(colour + b"line %d of the output\n" % n for n in range(100_000))

        def played(data: bytes = data) -> None:
            stream = CellStream()
            stream.feed(data, datetime.now(UTC), 0.0)
            stream.due(1.0)
            stream.release(datetime.now(UTC), 2.0, "/run.log")

        ours, bare = middle_ms(played), middle_ms(lambda data=data: data.decode().splitlines())
        print(f"lines   100,000 {name:<9} {ours:8.0f} ms   split and decoded {bare:6.1f} ms   {ours / bare:6.1f} times")


def view() -> None:
    pieces = [
        b"".join(b"%06d a line as programs print them, with some words\n" % (at + n) for n in range(PIECE))
        for at in range(0, 200_000, PIECE)
    ]
    shown, took = LogView(), []
    for piece in pieces:
        took.append(ms(lambda piece=piece: (shown.feed(piece), shown.refresh())))
    print(f"view    200,000 in pieces {sum(took):8.0f} ms   a piece {statistics.median(took):.1f} ms, the slowest {max(took):.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.log"
        path.write_bytes(b"".join(pieces))
        ours = middle_ms(lambda: LogView().open_file(path))
        bare = middle_ms(lambda: path.read_bytes().count(b"\n"))
        print(f"view    200,000 from a file {ours:6.0f} ms   read and counted  {bare:6.1f} ms   {ours / bare:6.1f} times")


def tab() -> None:
    """A kernel for each first time: what is loaded then, is loaded later."""
    for text in TEXTS:
        with tempfile.TemporaryDirectory() as home:
            manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, "ACI_NOTEBOOK_HOME": home})
            try:
                client.execute_interactive("%load_ext aci_notebook\nframe = 1", timeout=60)

                def ask(text: str = text) -> None:
                    client.complete(text, len(text), reply=True, timeout=20)  # noqa: B023  # asked within its round

                own = ms(lambda: ask("fra"))
                first = ms(ask)
                later, own_later = middle_ms(ask, 21), middle_ms(lambda: ask("fra"), 21)
                own_way = f"a variable: first {own:6.1f} ms, later {own_later:5.1f} ms"
                print(f"tab     {text:<20} first {first:6.1f} ms   later {later:5.1f} ms   {own_way}")
            finally:
                client.stop_channels()
                manager.shutdown_kernel(now=True)
                manager.context.destroy()


if __name__ == "__main__":
    lines()
    view()
    tab()
