"""Log items become events: text, bars, gaps, house lines, and objects that are home."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from . import events as ev
from .logs import Chunk, Gap, House, Item, Progress, Text
from .parcels import Lost, Parcel, Parcels
from .stage import Stage


class Teller:
    """Tells a stage what the log says. `framed`: the runner has said something."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.parcels = Parcels()
        self.framed = False

    def tell(self, items: Iterable[Item]) -> None:
        """Tells these items in order, text that follows on text as one event."""
        now = self.stage.clock.now()
        text = bytearray()

        def flush() -> None:
            if text:
                self.stage.emit(ev.TextReceived(now, bytes(text)))
                text.clear()

        for item in items:
            if isinstance(item, Text) and not item.traceback:
                self.framed = True
                text += item.data
                continue
            flush()
            self._tell_one(item, now)
        flush()

    def lose_unfinished(self) -> None:
        """Names the objects whose pieces never all came."""
        for lost in self.parcels.unfinished():
            self._arrive(lost, self.stage.clock.now())

    def _tell_one(self, item: Item, now: datetime) -> None:
        match item:
            case Text():
                self.stage.emit(ev.TextReceived(now, item.data, traceback=item.traceback))
            case Progress():
                self.stage.emit(ev.ProgressReceived(now, item.text))
            case Gap():
                self.stage.emit(ev.GapFound(now, item.lines))
            case House("alive"):
                self.framed = True  # a sign of life, for whoever decides what to ask next
            case House():
                self.framed = True
                self.stage.emit(ev.HouseSaid(now, item.word, item.values))
                self._arrive(self.parcels.take(item), now)
            case Chunk():
                self._arrive(self.parcels.take(item), now)
            case _:
                assert_never(item)

    def _arrive(self, done: Parcel | Lost | None, now: datetime) -> None:
        match done:
            case None:
                return
            case Parcel():
                self.stage.emit(ev.ObjectArrived(now, done.name, done.kind, done.type_name, done.data))
            case Lost():
                self.stage.emit(ev.ObjectSkipped(now, done.name, done.reason))
            case _:
                assert_never(done)
