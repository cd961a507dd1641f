"""What a run's header says: `describe`, from the record and the time, before it is set as text or HTML. Pure.

Everything is shown that the record knows and a person can act on; a number nobody measured is left out, not guessed. When an outcome
kind, a phase or a group state is added, its word goes into the tables below; a test walks the closed lists of `events` and `record`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ..record import Home, RunRecord
from .advice import advice, peak_text
from .html import visible
from .numbers import clock, count, duration, money, size

Tone = Literal["wait", "go", "ok", "bad", "off"]

STATES: Mapping[str, tuple[str, Tone]] = {
    "queued": ("○", "wait"),
    "pulling": ("◔", "wait"),
    "starting": ("◑", "wait"),
    "installing": ("◕", "wait"),
    "running": ("●", "go"),
    "collecting": ("◉", "go"),
    "cancelling": ("■", "off"),
    "detached": ("◇", "off"),
}
OUTCOMES: Mapping[str, tuple[str, str, Tone]] = {
    "succeeded": ("✓", "done", "ok"),
    "failed": ("✗", "failed", "bad"),
    "oom": ("✗", "out of memory", "bad"),
    "timeout": ("✗", "timed out", "bad"),
    "install_failed": ("✗", "install failed", "bad"),
    "no_interpreter": ("✗", "no interpreter", "bad"),
    "output_missing": ("✗", "output missing", "bad"),
    "pull_failed": ("✗", "image not pulled", "bad"),
    "start_timeout": ("✗", "not started in time", "bad"),
    "quota": ("✗", "over quota", "bad"),
    "capacity": ("✗", "no capacity", "bad"),
    "refused": ("✗", "refused", "bad"),
    "auth": ("✗", "not authorised", "bad"),
    "name_taken": ("✗", "name taken", "bad"),
    "evicted": ("✗", "evicted", "bad"),
    "restarted": ("✗", "restarted by the platform", "bad"),
    "stopped": ("■", "stopped from outside", "off"),
    "lost": ("✗", "lost", "bad"),
    "late": ("✗", "started too late", "bad"),
    "cancelled": ("■", "cancelled", "off"),
    "unreachable": ("✗", "service out of reach", "bad"),
    "error": ("✗", "error", "bad"),
}
_WAITING = frozenset({"queued", "pulling", "starting"})
_PROGRAM_ENDED = frozenset({"succeeded", "failed", "oom", "timeout", "output_missing"})
TIMEOUT_WARNING = 0.8
NOTE_CHARS_MAX = 300
HOMES_MAX = 8


class Spending(Protocol):
    """What the header asks of an estimate (`pricing.Estimate`): cost on Azure so far, and by the hour; None where it is not known."""

    @property
    def azure_usd(self) -> float | None: ...

    @property
    def azure_usd_per_hour(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """The plainest one."""

    azure_usd: float | None
    azure_usd_per_hour: float | None


@dataclass(frozen=True, slots=True)
class Note:
    """One more line of a header. `percent`: a bar goes with it."""

    kind: Literal["event", "progress", "info", "warn", "bad"]
    text: str
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, before it is set as text or HTML."""

    symbol: str
    word: str
    tone: Tone
    name: str
    steps: tuple[tuple[str, str], ...]
    facts: tuple[str, ...]
    results: tuple[str, ...]
    notes: tuple[Note, ...]
    log_path: str
    stoppable: bool


def describe(record: RunRecord, now: datetime, *, live: bool = True, estimate: Spending | None = None, background: bool = False) -> Header:
    """The header's content. `live`: the cell waits for the run right now; `background`: the kernel follows it without a cell."""
    ended = record.outcome is not None
    symbol, word, tone = _state(record)
    return Header(
        symbol=symbol,
        word=word,
        tone=tone,
        name=record.name,
        steps=_steps(record, now, word),
        facts=_facts(record, estimate),
        results=_results(record, estimate) if ended else (),
        notes=_notes(record, now, live, background),
        log_path=record.log_path if ended or not live else "",
        stoppable=live and not ended and not record.cancel_reason,
    )


def _state(record: RunRecord) -> tuple[str, str, Tone]:
    if record.outcome is not None:
        return OUTCOMES.get(record.outcome.kind, ("✗", record.outcome.kind, "bad"))
    symbol, tone = STATES.get(record.state, ("○", "wait"))
    return symbol, record.state, tone


def symbol_of(word: str) -> str:
    """The symbol of a state or an outcome, wherever one stands."""
    if word in STATES:
        return STATES[word][0]
    return OUTCOMES.get(word, ("✗", "", "bad"))[0]


def _steps(record: RunRecord, now: datetime, word: str) -> tuple[tuple[str, str], ...]:
    spans = record.spans(now)
    open_place = len(spans) - 1 if record.outcome is None else -1
    steps = [(phase, _step_time(phase, seconds, place == open_place)) for place, (phase, seconds) in enumerate(spans)]
    return (*steps, (word, "")) if record.outcome is not None and steps else tuple(steps)


def _step_time(phase: str, seconds: float, still: bool) -> str:
    if phase == "running":
        return clock(seconds) if still or seconds >= 59.5 else duration(seconds)
    if still:
        return f"{int(seconds)} s" if seconds < 60 else clock(seconds)
    return duration(round(seconds)) if seconds >= 1 else ""


def place(record: RunRecord) -> str:
    """Where it runs: `LOCAL · process`, or the region."""
    if record.target == "local":
        return f"LOCAL · {record.runtime}" if record.runtime else "LOCAL"
    return record.location or "Azure"


def _facts(record: RunRecord, estimate: Spending | None) -> tuple[str, ...]:
    spec = record.spec
    facts = [spec.image, f"{spec.cpu:g} CPU", f"{spec.memory_gb:g} GB"]
    if spec.spot:
        facts.append("Spot")
    facts.append(place(record))
    if record.outcome is None:
        if estimate is not None:
            facts.append(_cost(record, estimate, rate=True))
        budget = f" (--max-cost {spec.max_cost_usd:g})" if spec.max_cost_usd is not None else ""
        if budget and record.target == "local" and estimate is not None and estimate.azure_usd_per_hour is None:
            budget = f" (--max-cost {spec.max_cost_usd:g} sets none: no cost here, and no price is known)"
        facts.append(f"limit {duration(spec.timeout_s)}{budget}")
    return tuple(facts)


def _cost(record: RunRecord, estimate: Spending, *, rate: bool) -> str:
    local = "no cost here"
    usd, hourly = estimate.azure_usd, estimate.azure_usd_per_hour
    if usd is None or hourly is None:
        return local if record.target == "local" else "cost not known"
    spent = money(usd) if usd < 0.0001 else f"≈ {money(usd)}"
    text = f"{spent} at {money(hourly)}/h" if rate else spent
    return f"{local}, on Azure {text}" if record.target == "local" else text


def _results(record: RunRecord, estimate: Spending | None) -> tuple[str, ...]:
    outcome = record.outcome
    assert outcome is not None
    results: list[str] = []
    if record.ended_at is not None:
        results.append(f"{duration(max(0.0, (record.ended_at - record.created_at).total_seconds()))} in all")
    if outcome.exit_code is not None:
        results.append(f"exit code {outcome.exit_code}")
    if estimate is not None:
        results.append(_cost(record, estimate, rate=False))
    hint = advice(record)
    results.extend(text for text in ("" if hint.startswith("peak") else peak_text(record), hint) if text)
    if record.lines:
        results.append(count(record.lines, "line"))
    group = {"gone": "group deleted", "deleting": "group being deleted", "kept": "group kept", "unverified": "group unverified"}
    if record.group in group:
        results.append(group[record.group])
    return tuple(results)


def _notes(record: RunRecord, now: datetime, live: bool, background: bool) -> tuple[Note, ...]:
    notes = _live_notes(record, now) if record.outcome is None else _end_notes(record)
    if record.spec.inputs and not record.spec.function:
        notes.append(Note("info", "sent along: " + _listed([f"{i.name} {i.type_name} {size(i.size_bytes)}" for i in record.spec.inputs])))
    if record.outcome is None and background and not record.cancel_reason:
        notes.append(Note("info", f"in the background; %aci stop {record.name} ends it"))
    elif record.outcome is None and not live and not record.detached:
        notes.append(Note("warn", f"the last state seen here; %aci attach {record.name} looks again"))
    if record.restarts:
        notes.append(Note("warn", f"restarted by the platform {count(record.restarts, 'time')}"))
    if record.gaps:
        lost = f"{count(record.lost_lines, 'line')} of output" if record.lost_lines else "an unknown part of the output"
        notes.append(Note("warn", f"{lost} missing: the service no longer held them"))
    notes.extend(Note("warn", text) for text in dict.fromkeys(record.warnings))
    return tuple(Note(note.kind, _brief(note.text), note.percent) for note in notes if note.text.strip())


def _live_notes(record: RunRecord, now: datetime) -> list[Note]:
    notes: list[Note] = []
    if record.cancel_reason:
        notes.append(Note("info", f"{record.cancel_reason}: the container group is being deleted"))
    if record.detached:
        notes.append(Note("info", f"nobody follows it here; %aci attach {record.name} does"))
    if record.phase in _WAITING and record.platform_events:
        event = record.platform_events[-1]
        bad = event.type != "Normal" or event.name in {"Failed", "BackOff"}
        times = f" ({event.count} times)" if event.count > 1 else ""
        notes.append(Note("warn" if bad else "event", f"{event.name}: {event.message}{times}" if event.message else event.name + times))
    if record.phase in _WAITING and record.detail:
        notes.append(Note("event", f"waiting: {record.detail}"))
    if record.phase == "installing" and record.install:
        notes.append(Note("event", record.install.rpartition("\n")[2]))
    if record.progress:
        notes.append(Note("progress", last_line(record.progress), percentage(record.progress)))
    if record.trouble:
        notes.append(Note("warn", f"{record.trouble}; trying again"))
    if record.attempts > 1:
        notes.append(Note("info", f"attempt {record.attempts} of {record.spec.retries + 1}"))
    began = record.since("installing") or record.since("running")
    used_s = (now - began).total_seconds() if began else 0.0
    if used_s >= TIMEOUT_WARNING * record.spec.timeout_s:
        left = max(0.0, record.spec.timeout_s - used_s)
        notes.append(Note("warn", f"{clock(left)} left of --timeout {duration(record.spec.timeout_s)}"))
    if not record.spec.has_runner:
        notes.append(Note("info", "the image's own command: output as far as the service's log keeps it, not masked; "
                                  "the limit holds only while this kernel lives"))  # fmt: skip
    return notes


def _end_notes(record: RunRecord) -> list[Note]:
    outcome = record.outcome
    assert outcome is not None
    notes: list[Note] = []
    said = outcome.reason or (record.cancel_reason if outcome.kind == "cancelled" else "")
    said = "" if said == f"exit code {outcome.exit_code}" else said
    kind: Literal["bad", "info"] = "bad" if said and _state(record)[2] == "bad" else "info"
    hint = _brief(outcome.hint)
    if hint and said:  # a long reason is cut, never its remedy
        said = _brief(said, max(0, NOTE_CHARS_MAX - len(hint) - 2)).rstrip(".")
    notes.append(Note(kind, "; ".join(part for part in (said, hint) if part)))
    home = [item for item in record.homes if not item.reason and _home_name(item)]
    if home:
        notes.append(Note("info", "came home: " + _listed([_home_text(item, record.spec.function) for item in home])))
    told = outcome.kind == "output_missing"  # its reason names the variables
    notes.extend(Note("warn", _stayed(item)) for item in record.homes if item.reason and not (told and _home_name(item)))
    if record.attempts > 1:
        notes.append(Note("info", f"{record.attempts} attempts"))
    if not outcome.complete and outcome.kind in _PROGRAM_ENDED and record.spec.has_runner:
        notes.append(Note("warn", "the output's end was not seen: its last lines may be missing"))
    if record.group == "kept":
        notes.append(Note("info", f"the container group stays and may cost money; %aci rm {record.name} deletes it"))
    elif record.group == "unverified" and not any("%aci gc" in text for text in record.warnings):
        notes.append(Note("warn", "the container group may still exist; %aci gc looks again and deletes it"))
    return notes


def _listed(texts: list[str]) -> str:
    return ", ".join(texts[:HOMES_MAX]) + (f", {len(texts) - HOMES_MAX} more" if len(texts) > HOMES_MAX else "")


def not_shown(record: RunRecord) -> list[str]:
    """Why the value or a figure is not under the cell; a variable that stayed away is the run's outcome."""
    return [_stayed(item) for item in record.homes if item.reason and not _home_name(item)]


def _stayed(item: Home) -> str:
    return f"{_home_name(item) or item.name} stayed in the container: {item.reason}"


def _home_name(item: Home) -> str:
    """The name a person gave; empty for what is shown under the cell anyway (value, figures, error)."""
    kind, colon, name = item.name.partition(":")
    return name if colon and kind in {"var", "path"} else ""


def _home_text(item: Home, function: str) -> str:
    name = f"what {function} returned:" if function else _home_name(item)
    kind = item.type_name.removeprefix("builtins.")
    return " ".join(part for part in (name, kind, size(item.size_bytes)) if part)


_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,6})?) ?%")
_FRACTION = re.compile(r"(?<![\d./])(\d{1,12}) ?/ ?(\d{1,12})(?![\d./])")


def percentage(text: str) -> float | None:
    """How far a progress bar is, 0 to 100, if its text says so: `45%`, `12/80`."""
    line = last_line(text)
    found = _PERCENT.search(line)
    if found and float(found.group(1)) <= 100:
        return float(found.group(1))
    parts = _FRACTION.search(line)
    if parts and 0 <= int(parts.group(1)) <= int(parts.group(2)) > 0:
        return 100 * int(parts.group(1)) / int(parts.group(2))
    return None


_BAR_ART = re.compile(r"\|[█▉▊▋▌▍▎▏#\- ]{2,200}\||\[[=>.#\- ]{2,200}\]|[━╸╺]{2,200}")


def without_bar(text: str) -> str:
    """The text without the bar that is drawn of characters, for where a real one stands beside it."""
    return " ".join(_BAR_ART.sub(" ", text).split())


def last_line(text: str) -> str:
    """The last line with something on it, cleaned."""
    lines = [line.strip() for line in re.split(r"[\r\n]", visible(text.replace("\r", "\n")))]
    return next((line for line in reversed(lines) if line), "")


def _brief(text: str, limit: int = NOTE_CHARS_MAX) -> str:
    shown = " ".join(visible(text).split())
    return shown if len(shown) <= limit else shown[: max(0, limit - 1)] + "…"
