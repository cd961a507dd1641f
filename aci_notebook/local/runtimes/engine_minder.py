"""Beside one engine container: attaches, starts it, passes its output on, records how it ended, removes it.

It is the command of a guardian (`supervise`), which stamps and spools what it prints. So engine containers share the
mechanism of the process runtime: the output is stamped as it arrives, survives a hard kill of the server, and the
container ends by itself when no server is there for too long. Standard library only, isolated mode:

    engine_minder.py FOLDER ADDRESS CERTS CONTAINER_ID GRACE_S

* ``begun``       a FIFO in the folder; gets one line of JSON: {"started_at"} or {"failed": text}
* ``ended.json``  {"exit_code", "oom_killed", "finished_at"}, the engine's words, written before the container is removed

SIGTERM stops the container as the engine does (SIGTERM, then SIGKILL after GRACE_S).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

if __package__:
    from .engine_wire import Connection, EngineSaid, Frames, Stream
    from .supervise import write_json
else:  # run as a file, in isolated mode: its folder is not on the path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from engine_wire import Connection, EngineSaid, Frames, Stream  # type: ignore[import-not-found,no-redef]
    from supervise import write_json  # type: ignore[import-not-found,no-redef]

ENGINE_AWAY_S = 0.5  # between two attempts to reach an engine that is being restarted
REMOVE_TRIES = 40
READ_BYTES = 64 * 1024


class Minder:
    """Minds one container until it is gone."""

    def __init__(self, folder: Path, address: str, certs: str, container_id: str, grace_s: float) -> None:
        self._folder = folder
        self._engine = (address, certs)
        self._path = f"/containers/{container_id}"
        self._grace_s = grace_s
        self._stop_wanted = threading.Event()
        self._started = threading.Event()

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._stop_wanted.set())
        threading.Thread(target=self._stop_when_wanted, daemon=True).start()
        try:
            stream = self._attach()
            self._ask("POST", "/start")
            state = self._state() or {}
        except (EngineSaid, OSError) as error:
            self._remove()
            self._tell({"failed": str(error)})
            return
        self._started.set()
        self._tell({"started_at": state.get("StartedAt", "")})
        self._pass_on(stream)
        while not self._wait():
            with contextlib.suppress(EngineSaid, OSError):  # it ended meanwhile, or the engine is away again
                self._pass_on(self._attach())
        state = self._until_engine_answers()
        write_json(
            self._folder / "ended.json",
            {
                "exit_code": state.get("ExitCode", 137),
                "oom_killed": state.get("OOMKilled", False),
                "finished_at": state.get("FinishedAt", ""),
            },
        )
        self._remove()

    def _ask(self, method: str, path: str) -> Any:
        connection = Connection(*self._engine)
        try:
            return connection.ask(method, f"{self._path}{path}")
        finally:
            connection.close()

    def _attach(self) -> Stream:
        return Connection(*self._engine).hijack(f"{self._path}/attach?stream=1&stdout=1&stderr=1")

    def _state(self) -> dict[str, Any] | None:
        """The container's state; None if there is no such container any more."""
        try:
            state: dict[str, Any] = self._ask("GET", "/json")["State"]
        except EngineSaid as said:
            if said.status == 404:
                return None
            raise
        return state

    def _until_engine_answers(self) -> dict[str, Any]:
        while True:
            try:
                return self._state() or {}
            except OSError:
                time.sleep(ENGINE_AWAY_S)

    def _wait(self) -> bool:
        """Whether the container has ended; False if the stream broke while it runs on (the engine was restarted)."""
        try:
            self._ask("POST", "/wait")
        except EngineSaid:
            return True
        except OSError:
            return not self._until_engine_answers().get("Running", False)
        return True

    @staticmethod
    def _pass_on(stream: Stream) -> None:
        frames = Frames()
        try:
            while data := stream.read(READ_BYTES):
                output = memoryview(frames.feed(data))
                while output:
                    output = output[os.write(1, output) :]
        except OSError:  # the engine is gone; `_wait` finds out
            return

    def _stop_when_wanted(self) -> None:
        self._stop_wanted.wait()
        self._started.wait()
        with contextlib.suppress(EngineSaid, OSError):
            self._ask("POST", f"/stop?t={self._grace_s:g}")

    def _remove(self) -> None:
        for _ in range(REMOVE_TRIES):  # what is left behind after all carries our label: the server sweeps it
            try:
                self._ask("DELETE", "?force=1&v=1")
            except EngineSaid as said:
                if said.status == 404:
                    return
                time.sleep(ENGINE_AWAY_S)  # Podman keeps a network's owner for as long as there is a container in it
            except OSError:
                time.sleep(ENGINE_AWAY_S)
            else:
                return

    def _tell(self, words: dict[str, Any]) -> None:
        fifo = os.open(self._folder / "begun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(fifo, json.dumps({name: text[:1500] for name, text in words.items()}).encode() + b"\n")
        os.close(fifo)


def main(folder: str, address: str, certs: str, container_id: str, grace_s: str) -> None:
    Minder(Path(folder), address, certs, container_id, float(grace_s)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
