"""One container's guardian: starts its command, stamps and spools its output, records how it ended.

It runs as a process of its own, so that a server killed hard takes neither the container nor its output with it, and
so that nothing of the container survives the container. The server starts it with this file's path (standard library
only, isolated mode), hands over what to run on stdin (never on a command line, never on disk: it holds secrets) and
reads the result from the attempt's folder:

* ``alive``         a FIFO this process keeps open for as long as it lives; a byte in it says "look again"
* ``started.json``  {"pid", "child", "started_at"}: the guardian, the container's first process, 100 ns ticks
* ``exit.json``     {"exit_code", "finished_at"}, or {"failed": text} when the command could not be started
* ``text-N``, ``marks-N``  the spool, see `SpoolWriter`

Signals: SIGTERM ends the container gracefully (SIGTERM, then SIGKILL after the grace), SIGUSR1 at once. When no server
holds the ``presence`` lock for ``orphan_s`` seconds the guardian ends its container by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 8 * 1024 * 1024  # the window served is 4 MB; the last whole segment and the growing one stay on disk
MARK = struct.Struct("<QQ")  # where a line starts (bytes since the container started), when it arrived (100 ns ticks)
READ_BYTES = 64 * 1024
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def now_ticks() -> int:
    """The time as 100 ns ticks since 1970, the resolution of the service's log stamps."""
    return time.time_ns() // 100


class SpoolWriter:
    """Appends a container's output to its folder: the bytes as they came, and one mark for each line.

    The mark is written before the text, so a reader that looks at the text's size first finds a mark for each line it
    sees. A new pair of files starts every `SEGMENT_BYTES`; all but the last two are removed, so that a job that prints
    for days does not fill the disk. A segment that starts inside a line repeats that line's mark.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._size = 0
        self._line: tuple[int, int] | None = None  # the mark of the line still open
        self._last_stamp = 0
        self._bases: list[int] = []
        self._open(0)

    def _open(self, base: int) -> None:
        self._text = self._create(f"text-{base}")
        self._marks = self._create(f"marks-{base}")
        self._bases.append(base)
        if self._line is not None:
            os.write(self._marks, MARK.pack(*self._line))

    def _create(self, name: str) -> int:
        return os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        self.close()
        self._open(self._size)
        for base in self._bases[:-2]:
            (self._folder / f"marks-{base}").unlink(missing_ok=True)
            (self._folder / f"text-{base}").unlink(missing_ok=True)
        del self._bases[:-2]

    def write(self, data: bytes, stamp: int | None = None) -> None:
        """Append `data`; lines that start in it are stamped with `stamp` (now) and the ticks after it."""
        if not data:
            return
        if self._size - self._bases[-1] >= SEGMENT_BYTES:
            self._rotate()
        stamp = max(stamp or now_ticks(), self._last_stamp + 1)
        marks = []
        for start in self._line_starts(data):
            self._line = (self._size + start, stamp)
            marks.append(MARK.pack(*self._line))
            self._last_stamp = stamp
            stamp += 1
        if marks:
            os.write(self._marks, b"".join(marks))
        _write_all(self._text, data)
        self._size += len(data)
        if data.endswith(b"\n"):
            self._line = None

    def _line_starts(self, data: bytes) -> Iterator[int]:
        if self._line is None:
            yield 0
        at = data.find(b"\n") + 1
        while 0 < at < len(data):
            yield at
            at = data.find(b"\n", at) + 1

    def close(self) -> None:
        os.close(self._text)
        os.close(self._marks)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_json(path: Path, content: object) -> None:
    """Write a small file so that a reader sees all of it or nothing; readable by its owner alone."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)


def _prctl() -> Callable[[int, int], int] | None:
    """Linux's prctl, or None where there is none (then process groups are all we have)."""
    if sys.platform != "linux":
        return None
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).prctl
    return lambda option, value: int(call(option, value, 0, 0, 0))


class Guardian:
    """The supervising loop over one container: output, exit, signals, and the presence of a server."""

    def __init__(self, folder: Path, launch: dict[str, Any]) -> None:
        self._folder = folder
        self._launch = launch
        self._alive = os.open(folder / "alive", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._spool = SpoolWriter(folder)
        self._prctl = _prctl()
        self._kill_at: float | None = None  # monotonic; when grace ends
        self._stop_wanted = False
        self._kill_wanted = False
        self._server_seen = time.monotonic()

    def run(self) -> None:
        """Start the command and stay until nothing of it is left."""
        if (self._folder / "abandoned").exists():  # a new server has already written this attempt off
            return
        if self._prctl:
            self._prctl(PR_SET_CHILD_SUBREAPER, 1)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_kill)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        output, child_end = os.pipe()
        os.set_blocking(output, False)
        try:
            child = self._start(child_end)
        except (OSError, ValueError) as error:
            self._finish({"failed": str(error), "finished_at": now_ticks()})
            return
        finally:
            os.close(child_end)
        write_json(self._folder / "started.json", {"pid": os.getpid(), "child": child.pid, "started_at": now_ticks()})
        self._wake()
        exit_code = self._watch(child, output, wake_read)
        self._finish({"exit_code": exit_code, "finished_at": now_ticks()})

    def _start(self, child_end: int) -> subprocess.Popen[bytes]:
        def die_with_guardian() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if self._prctl:
                self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        return subprocess.Popen(  # noqa: S603 - running what it is given is this program's purpose
            self._launch["argv"],
            env=self._launch["env"],
            cwd=self._launch["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=child_end,
            stderr=child_end,
            start_new_session=True,
            umask=0o022,
            preexec_fn=die_with_guardian,
        )

    def _on_stop(self, *_: object) -> None:
        self._stop_wanted = True

    def _on_kill(self, *_: object) -> None:
        self._kill_wanted = True

    def _watch(self, child: subprocess.Popen[bytes], output: int, wake: int) -> int:
        """Pump output until the container's first process has ended; end all the others; return the exit code."""
        reading = [output, wake]
        while True:
            ready = select.select(reading, [], [], self._patience())[0]
            if wake in ready:
                os.read(wake, 4096)
            if output in ready and not self._pump(output):
                reading = [wake]
            self._heed_server()
            self._end_if_wanted(child.pid)
            exit_code = self._reap(child)
            if exit_code is not None:
                self._end_descendants(child.pid)
                while self._pump(output):
                    pass
                return exit_code

    def _patience(self) -> float:
        waits: list[float] = [min(5.0, self._launch["orphan_s"] / 4)]
        if self._kill_at is not None:
            waits.append(max(0.0, self._kill_at - time.monotonic()))
        return min(waits)

    def _pump(self, output: int) -> bool:
        """Move one block from the pipe to the spool; False when there is nothing more to read (now or ever)."""
        try:
            data = os.read(output, READ_BYTES)
        except BlockingIOError:
            return False
        self._spool.write(data)
        return bool(data)

    def _heed_server(self) -> None:
        """Ask for an end when nobody has held the presence lock for too long (a server killed for good)."""
        now = time.monotonic()
        with open(self._launch["presence"], "rb") as presence:
            try:
                fcntl.flock(presence, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                self._server_seen = now
        if now - self._server_seen > self._launch["orphan_s"]:
            self._stop_wanted = True

    def _end_if_wanted(self, child: int) -> None:
        now = time.monotonic()
        if self._stop_wanted and self._kill_at is None:
            self._kill_at = now + self._launch["grace_s"]
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)  # to the first process alone, as a container engine does
        if self._kill_wanted or (self._kill_at is not None and now >= self._kill_at):
            _signal_group(child, signal.SIGKILL)

    @staticmethod
    def _reap(child: subprocess.Popen[bytes]) -> int | None:
        """Collect ended descendants; the exit code of the first process once it has ended (128 + n for signal n)."""
        code = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return code
            if pid == 0:
                return code
            if pid == child.pid:
                code = os.waitstatus_to_exitcode(status)
                child.returncode = code
                code = 128 - code if code < 0 else code

    @staticmethod
    def _end_descendants(child: int) -> None:
        """Kill what the container's first process left behind, sessions of their own included (we are the reaper)."""
        _signal_group(child, signal.SIGKILL)
        while left := _children_of(os.getpid()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)

    def _finish(self, result: dict[str, Any]) -> None:
        self._spool.close()
        write_json(self._folder / "exit.json", result)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._alive, b"!")


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(pid, number)


def _children_of(parent: int) -> list[int]:
    """Direct children of `parent`, from /proc; empty where there is no /proc."""
    children = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_bytes().rpartition(b")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(fields[1]) == parent:
            children.append(int(entry.parent.name))
    return children


def main(folder: str) -> None:
    """Supervise the attempt in `folder`; what to run is read from stdin."""
    Guardian(Path(folder), json.load(sys.stdin)).run()


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)  # at once: the open FIFO tells the server that this process lives
