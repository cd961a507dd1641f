"""A run's header, from its record and the time: plain text and HTML, pure.

`header.describe` decides once what is said (`Header`: state, steps, facts, results, notes); `header_text` and `header_html` only set it. So
the terminal, the saved notebook and the screen reader tell the same story. The rules:

* Words and symbols carry the meaning, colour only repeats it: GitHub strips styles, an untrusted notebook loses the <style>
  element, and the lines still read (`notebook-facts` §2.7). Separators are text, not CSS. No inline style, ever.
* The node with `role=status` holds state and name, nothing that moves with the clock.
* The stop button exists only while the run is live: in a saved notebook it would interrupt somebody's next run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from ..record import RunRecord
from .header import Estimate as Estimate
from .header import Header, Note, Spending, describe, without_bar
from .html import NO_MATH, Child, Node, el, minified, style_sheet, terminal_nodes, to_html, visible
from .numbers import count

NOTES_SHOWN = 6


def status_line(record: RunRecord, now: datetime, estimate: Spending | None = None, *, live: bool = True) -> str:
    """The run in one plain line."""
    return _first_line(describe(record, now, live=live, estimate=estimate))


def header_text(
    record: RunRecord,
    now: datetime,
    *,
    live: bool = True,
    estimate: Spending | None = None,
    background: bool = False,
    log_lines: Sequence[str] = (),
) -> str:
    """The header as plain text, a few lines without an end of line after the last."""
    header = describe(record, now, live=live, estimate=estimate, background=background)
    lines = [_first_line(header)]
    if header.results:
        lines.append("  " + " · ".join(header.results))
    lines.append("  " + " · ".join([*header.facts, *([f"log {header.log_path}"] if header.log_path else [])]))
    lines.extend(f"  {_MARKS[note.kind]} {note.text}" for note in header.notes)
    lines.extend(f"  | {line}" for line in log_lines)
    return "\n".join(" ".join(visible(line).splitlines()) for line in lines)


_MARKS: Mapping[str, str] = {"event": "…", "progress": "…", "info": "-", "warn": "!", "bad": "!"}


def _first_line(header: Header) -> str:
    steps = " → ".join(f"{word} {time}".rstrip() for word, time in header.steps)
    return visible("  ".join(part for part in (f"{header.symbol} {header.word}", header.name, steps) if part))


# --- HTML ------------------------------------------------------------------------------------------------------------------------

STOP = el(
    "span",
    {"class": "aci-live"},
    el("button", {"class": "aci-stop", "type": "button", "data-commandlinker-command": "notebook:interrupt-kernel"}, "■ Stop"),
    el("span", {"class": "aci-else"}, " to stop: interrupt the kernel"),
)


_SPOKEN = {"role": "status", "aria-live": "polite", "aria-atomic": "true"}


def header_html(
    record: RunRecord,
    now: datetime,
    live: bool,
    *,
    estimate: Spending | None = None,
    background: bool = False,
    log_lines: Sequence[str] = (),
    spoken: bool = True,
) -> str:
    """The header as HTML, with its style sheet. `log_lines` (of a background run) go below it, colours and all.

    `spoken=False`: another node has the role of status (`spoken_html`), and the page has the style sheet already.
    """
    header = describe(record, now, live=live, estimate=estimate, background=background)
    first = el(
        "div",
        {"class": "aci-top aci-can-stop" if header.stoppable else "aci-top"},
        el(
            "span",
            {"class": "aci-status", **(_SPOKEN if spoken else {})},
            el("span", {"class": "aci-state"}, f"{header.symbol} {header.word}"),
            " ",
            el("b", {"class": "aci-name"}, header.name),
        ),
        " ",
        _steps_html(header) if header.steps else None,
        " " if header.stoppable else None,
        STOP if header.stoppable else None,
    )
    rows: list[Child] = [style_sheet(css(bool(log_lines))), first] if spoken else [first]
    if header.results:
        rows.append(_parted("aci-results", header.results))
    log = [el("span", {"class": "aci-part"}, "log ", el("code", {}, header.log_path))] if header.log_path else []
    rows.append(_parted("aci-facts", header.facts, *log))
    rows.extend(_note_html(note) for note in header.notes[:NOTES_SHOWN])
    if len(header.notes) > NOTES_SHOWN:
        more = header.notes[NOTES_SHOWN:]
        rows.append(el("details", {"class": "aci-note"}, el("summary", {}, f"{len(more)} more"), *map(_note_html, more)))
    if log_lines:
        rows.append(log_html(log_lines))
    return to_html(el("div", {"class": f"aci-run aci-{header.tone} {NO_MATH}"}, *rows))


def spoken_html(record: RunRecord, now: datetime) -> str:
    """State and name alone, for screen readers: it changes when the state does."""
    header = describe(record, now, live=False)
    return to_html(el("span", _SPOKEN, f"{header.word} {header.name}"))


def log_html(lines: Sequence[str]) -> Node:
    """Lines of program output with their colours."""
    return el("pre", {"class": "aci-output"}, *terminal_nodes("\n".join(lines)))


def held_html(lines: Sequence[str], total: int, log_path: str) -> str:
    """The live box below a long output: how many lines wait, and the newest of them."""
    first = el("div", {}, held_text(total, log_path))
    return to_html(el("div", {"class": f"aci-run aci-held {NO_MATH}"}, style_sheet(css(True)), first, log_html(lines)))


def caption_html(text: str) -> str:
    """What that box becomes when the lines follow it."""
    return to_html(el("div", {"class": f"aci-run aci-held {NO_MATH}"}, style_sheet(css(False)), text))


def failure_bundle(record: RunRecord, why: str) -> dict[str, Any]:
    """A header that could not be drawn, and why. Uses nothing that can fail with the record's content."""
    text = f"{record.name}: the header failed ({why}); plain lines follow"
    return {"text/plain": visible(text), "text/html": to_html(el("div", {}, text))}


def held_text(total: int, log_path: str) -> str:
    """The first line of that box."""
    where = f", all of them in {log_path}" if log_path else ""
    return f"… {count(total, 'line')} so far{where}; the latest:"


def _parted(name: str, parts: Sequence[str], *more: Node) -> Node:
    """Parts with a dot between them; the dot stays with the part before it when the line is broken."""
    children: list[Child] = []
    for place, part in enumerate(parts):
        last = place == len(parts) - 1 and not more
        children.extend([el("span", {"class": "aci-part"}, part if last else f"{part} ·"), " "])
    return el("div", {"class": name}, *children, *more)


def _steps_html(header: Header) -> Node:
    children: list[Child] = []
    for place, (word, time) in enumerate(header.steps):
        arrow = " →" if place < len(header.steps) - 1 else ""
        children.extend([el("span", {"class": "aci-step"}, f"{word} {time}".rstrip() + arrow), " "])
    return el("span", {"class": "aci-steps"}, *children)


def _note_html(note: Note) -> Node:
    bar = None
    if note.kind == "progress" and note.percent is not None:
        bar = el("progress", {"class": "aci-bar", "max": "100", "value": f"{note.percent:g}", "aria-label": "progress"})
    mark = {"warn": "▲ ", "bad": "▲ "}.get(note.kind)
    return el("div", {"class": f"aci-note aci-{note.kind}"}, bar, " " if bar else None, mark, without_bar(note.text) if bar else note.text)


@cache
def css(with_log: bool = True) -> str:
    """style.css without comments and spare blanks; the colours of program output only where there is some."""
    text = files(__package__).joinpath("style.css").read_text("utf-8")
    house, _, output = text.partition("/* program output */")
    return minified(house + (output if with_log else ""))


def mimebundle(
    record: RunRecord,
    now: datetime,
    live: bool,
    *,
    estimate: Spending | None = None,
    background: bool = False,
    log_lines: Sequence[str] = (),
) -> dict[str, Any]:
    """The header as a display bundle."""
    return {
        "text/plain": header_text(record, now, live=live, estimate=estimate, background=background, log_lines=log_lines),
        "text/html": header_html(record, now, live, estimate=estimate, background=background, log_lines=log_lines),
    }
