"""The service's log window as the tests see it: what a container wrote, with stamps, and which part of it one read shows.

Written from the facts (a sliding window of bytes, a tail of lines, stamps before each line, a first line that may be cut), not from
the client: it formats frames itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SECOND = 10_000_000


def stamp(ticks: int) -> str:
    seconds, rest = divmod(ticks, SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"2026-11-22T{hours:02}:{minutes:02}:{seconds:02}.{rest:07}Z "


@dataclass
class Container:
    """One container's output: (ticks, line without newline); `open_line` is still being written."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    open_line: tuple[int, str] | None = None
    window_bytes: int = 4 << 20

    def write(self, text: str, at: int) -> None:
        self.lines.append((at, text))

    def shown(self, tail: int | None, upto: int | None = None) -> str:
        """The answer of a log call with time stamps; `upto` = as it was when so many lines were written."""
        lines = self.lines if upto is None else self.lines[:upto]
        texts = [(at, text + "\n") for at, text in lines]
        if self.open_line is not None and upto is None:
            texts.append(self.open_line)
        size, kept = 0, []
        for at, text in reversed(texts):
            data = text.encode("utf-8", "surrogatepass")
            room = self.window_bytes - size
            if room <= 0:
                break
            cut = data[-room:].decode("utf-8", "ignore") if len(data) > room else text
            kept.append((at, cut))
            size += len(data)
        kept.reverse()
        if tail is not None:
            kept = kept[-tail:]
        return "".join(stamp(at) + text for at, text in kept)

    def text_from(self, byte: int) -> str:
        """What the attach websocket would have sent from that byte on."""
        return "".join(text + "\n" for _, text in self.lines).encode("utf-8", "surrogatepass")[byte:].decode("utf-8", "replace")

    def size(self) -> int:
        return sum(len(text.encode("utf-8", "surrogatepass")) + 1 for _, text in self.lines)


def frame(number: int, mark: str, payload: str) -> str:
    return f"{number:>6}{mark} {payload}" if payload else f"{number:>6}{mark}"
