"""Objects on their way home: announced by a house line, carried in pieces, checked when whole. Pure.

`Parcels` takes the log items in order. A parcel whose pieces are incomplete, or whose checksum differs, is never handed out: it
becomes a reason.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass, field
from urllib.parse import unquote

from .logs import Chunk, House


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object that is whole: its name, kind (json, png, pickle, tar.gz), type and bytes."""

    name: str
    kind: str
    type_name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """An object that did not come home, and why."""

    name: str
    reason: str


class Parcels:
    """Collects pieces. `take` returns what one item completes."""

    def __init__(self) -> None:
        self._announced: dict[str, dict[str, str]] = {}
        self._pieces: dict[str, dict[int, str]] = {}

    def take(self, item: House | Chunk) -> Parcel | Lost | None:
        """The object that this item completes or refuses, else None."""
        if isinstance(item, House):
            name = unquote(item.values.get("name", ""))
            if item.word == "object":
                self._announced[name] = item.values
                self._pieces[name] = {}
                return self._finish(name, 0) if item.values.get("chunks") == "0" else None
            return Lost(name, item.values.get("reason", "no reason given")) if item.word == "skip" else None
        name = unquote(item.name)
        pieces = self._pieces.setdefault(name, {})
        pieces[item.index] = item.data
        return self._finish(name, item.total) if len(pieces) == item.total else None

    def unfinished(self) -> list[Lost]:
        """Objects announced whose pieces never all came."""
        return [Lost(name, "not all of its pieces arrived") for name in self._announced]

    def _finish(self, name: str, total: int) -> Parcel | Lost:
        values, pieces = self._announced.pop(name, None), self._pieces.pop(name)
        if values is None:
            return Lost(name, "what announced it was lost")
        try:
            data = zlib.decompress(base64.b64decode("".join(pieces[place] for place in range(1, total + 1)), validate=True))
        except (binascii.Error, zlib.error, KeyError) as error:
            return Lost(name, f"its pieces do not fit together ({error})")
        wanted = values.get("sha256")
        if wanted and hashlib.sha256(data).hexdigest() != wanted:
            return Lost(name, "its checksum differs")
        return Parcel(name, values.get("kind", ""), values.get("type", ""), data)
