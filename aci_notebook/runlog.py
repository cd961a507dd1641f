"""The output of one run, byte for byte: a file that grows, and memory from the moment when it cannot be written. One thread at a time."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path


class RunLog:
    """What the program wrote. `path` empty: what was kept elsewhere is not here."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._size = 0
        self._memory: bytearray | None = None

    def add(self, data: bytes) -> OSError | None:
        """Keeps the data; says once why they are in memory from now on."""
        if self._memory is not None:
            self._memory += data
            return None
        rest = memoryview(data)
        try:
            if self._file is None:
                self._file = Path(self._path).open("ab", buffering=0)  # noqa: SIM115  # held as long as the run
                self._size = self._file.seek(0, os.SEEK_END)
            while rest:
                written = self._file.write(rest) or 0
                self._size += written
                rest = rest[written:]
        except OSError as error:
            self._memory = bytearray(self._on_disk()[: self._size]) + rest
            return error
        return None

    def read(self) -> bytes:
        """Everything so far."""
        return self._on_disk() if self._memory is None else bytes(self._memory)

    def close(self) -> None:
        """Lets the file go; what it holds can still be read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _on_disk(self) -> bytes:
        try:
            return Path(self._path).read_bytes() if self._path else b""
        except OSError:
            return b""
