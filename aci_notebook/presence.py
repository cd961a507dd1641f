"""Which kernels live: each holds an operating-system lock on a file of its own for as long as its process lives.

A lock, not a process id: the system drops it with the process however that ends (kill -9, power cut), and no other process can
inherit it by having the same number. Rules:
* The file is named for the kernel's random id and says host and process id. Locks of another host cannot be judged from here, so
  its files are left alone and its kernels count as alive; `gc` goes by the `expires` tag there.
* A forked child closes its copy of the lock at once: it neither keeps the parent alive after its death nor takes the lock away by
  ending. It is a kernel of its own with a new id when it calls `hold`.
* A probe takes the lock shared and for a moment, so probes do not disturb each other; `hold` waits for them.
* A stale file is removed only under its own lock; who locks a file that has just been removed sees so, and makes it anew.
* A home that takes no files: the lock is held in a folder of this user below the system's temporary one, and looked for there too.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Presence:
    """This kernel's id and lock below `home`, and whether other kernels of this host live."""

    def __init__(self, home: Path) -> None:
        self.home = Path(home)
        self.warning = ""
        self._id = secrets.token_hex(6)
        self._path: Path | None = None
        self._lock: int | None = None
        self._guard = threading.Lock()
        _ALL.add(self)

    @property
    def id(self) -> str:
        """The kernel's id: the same as long as the process lives; another one in a forked child."""
        return self._id

    @property
    def held(self) -> bool:
        return self._lock is not None

    def hold(self) -> bool:
        """Take the lock and keep it until the process ends; removes stale files. False, and `warning`, where no place takes it."""
        with self._guard:
            if self._lock is not None:
                return True
            reasons = []
            for folder in self._folders():
                try:
                    self._path = folder / f"{self._id}.lock"
                    self._lock = _lock_new(self._path, ours_only=folder.parent != self.home)
                except OSError as error:
                    reasons.append(f"{folder}: {error.strerror or error}")
                    continue
                _KEPT.add(self)
                self._sweep(folder)
                return True
            self._path = None
            self.warning = (
                f"this kernel cannot show that it lives ({'; '.join(reasons)}); "
                "another kernel's %aci gc may take its runs for abandoned. Make the folder writable, or set ACI_NOTEBOOK_HOME"
            )
            return False

    def release(self) -> None:
        """Give the lock back and remove the file; what the end of the process does anyway, without the removal."""
        with self._guard:
            if self._lock is None:
                return
            lock, path, self._lock, self._path = self._lock, self._path, None, None
            _KEPT.discard(self)
            _remove(path, lock)

    def alive(self, kernel_id: str) -> bool:
        """Whether the kernel of that id lives. A kernel of another host that shares this home counts as alive while its file is here."""
        if kernel_id == self._id and self.held:
            return True
        return bool(_ID.fullmatch(kernel_id)) and any(_is_held(folder / f"{kernel_id}.lock") for folder in self._folders())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One kernel of this host at a time: who takes a run over, or collects one, has looked and written before the next one looks."""
        handle: int | None = None
        for folder in self._folders():
            try:
                handle = _lock_new(folder / "taking-over", ours_only=folder.parent != self.home)
                break
            except OSError:
                continue
        try:
            yield
        finally:
            if handle is not None:
                _unlock(handle)  # a process that was forked meanwhile may hold a copy
                os.close(handle)

    def _folders(self) -> Iterator[Path]:
        yield self.home / "kernels"
        yield Path(tempfile.gettempdir()) / f"aci-notebook-kernels-{_user()}"

    def _sweep(self, folder: Path) -> None:
        try:
            stale = [path for path in folder.glob("*.lock") if path != self._path and not _is_held(path)]
        except OSError:
            return
        for path in stale:
            _remove_stale(path)

    def _forked(self) -> None:
        """In a forked child: close the copy, which unlocks nothing as long as the parent has its own, and become somebody else."""
        self._guard = threading.Lock()
        self._id = secrets.token_hex(6)
        if self._lock is not None:
            os.close(self._lock)
            self._lock, self._path = None, None
            _KEPT.discard(self)


_ALL: weakref.WeakSet[Presence] = weakref.WeakSet()
_KEPT: set[Presence] = set()  # who holds a lock is not forgotten: a child must find it to close its copy


def _after_fork() -> None:
    for presence in list(_ALL):
        presence._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else re.sub(r"\W", "_", os.environ.get("USERNAME", "user"))


def _lock_new(path: Path, *, ours_only: bool) -> int:
    """A locked descriptor of that file, which is there when this returns."""
    folder = path.parent
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if ours_only and hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise PermissionError(1, "the folder belongs to somebody else")
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            _take(handle, wait=True)
            if _is_same(handle, path):
                text = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
                os.ftruncate(handle, 0)
                os.write(handle, text.encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return _is_held_unwritable(path)
    try:
        said = _said(handle)
        if said.get("host", socket.gethostname()) != socket.gethostname():
            return True
        return not _take(handle, wait=False, shared=True)
    finally:
        os.close(handle)


def _is_held_unwritable(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _take(handle, wait=False, shared=True)
    except OSError:
        return True
    finally:
        os.close(handle)


def _remove_stale(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return
    if _take(handle, wait=False) and _is_same(handle, path):
        _remove(path, handle)
    else:
        os.close(handle)


def _remove(path: Path | None, handle: int) -> None:
    """Unlink under the lock, then unlock; Windows removes no open file, so there it is the other way round."""
    if sys.platform == "win32":
        os.close(handle)
    try:
        if path is not None:
            path.unlink(missing_ok=True)
    except OSError:
        pass
    if sys.platform != "win32":
        os.close(handle)


def _said(handle: int) -> dict[str, Any]:
    try:
        said = json.loads(os.pread(handle, 4096, 0) if hasattr(os, "pread") else os.read(handle, 4096))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_same(handle: int, path: Path) -> bool:
    try:
        there, here = path.stat(), os.fstat(handle)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte that nobody writes: Windows locks forbid reading what they cover

    def _take(handle: int, *, wait: bool, shared: bool = False) -> bool:
        del shared  # msvcrt has no shared lock
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            if wait:
                raise
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(handle: int, *, wait: bool, shared: bool = False) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
