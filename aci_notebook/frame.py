"""The history as a DataFrame: filters as SQL, columns with their right types, and the `.aci` accessor.

pandas is imported inside functions only: loading the extension must not pay for it. The accessor is registered when the first
frame is made, so a notebook that has a frame of ours has `.aci`, and one that has none has not paid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from .errors import OptionError, did_you_mean
from .events import OutcomeKind
from .record import State
from .rows import FRAME_COLUMNS, micros

if TYPE_CHECKING:
    import pandas as pd

STATES: tuple[str, ...] = get_args(State)
OUTCOMES: tuple[str, ...] = get_args(OutcomeKind)
FAILED = tuple(kind for kind in OUTCOMES if kind not in ("succeeded", "cancelled"))
FILTERS = ("state", "outcome", "image", "since", "until", "tag", "notebook", "name")

_WORDS = ("state", "outcome", "image", "location", "target", "notebook", "tags")
_TEXTS = ("run_id", "name", "code", "error")
_INSTANTS = ("created_at", "started_at", "finished_at")
_WHOLE = ("exit_code", "log_lines", "log_bytes")
_REAL = ("queued_s", "pull_s", "run_s", "cpu", "memory_gb", "cost_usd", "peak_memory_gb", "cpu_s")
_CHOICES: Mapping[str, tuple[str, ...]] = {"state": STATES, "outcome": OUTCOMES}
_NO_INSTANT = -(2**63)

SELECTED = (
    f"json_array({', '.join(_WORDS)})",
    *_TEXTS,
    *(f"ifnull({name}, {_NO_INSTANT})" for name in _INSTANTS),
    *_WHOLE,
    *_REAL,
    "spot",
)
"""What `frame_of` takes. The words that repeat from run to run come as one text each: a row is dear by the number of its values."""


def where(now: datetime, **filters: Any) -> tuple[str, list[Any]]:
    """The SQL condition and its arguments for filters by name; those that are None do not filter. Raises OptionError."""
    clauses, arguments = ["1"], []
    for name, value in filters.items():
        if name not in FILTERS:
            raise OptionError(name, None, "is not a filter of the history", did_you_mean(name, FILTERS) or f"filters: {', '.join(FILTERS)}")
        if value is None:
            continue
        match name:
            case "state" | "outcome":
                clause, bound = _chosen(name, value)
            case "since" | "until":
                clause, bound = f"created_at {'>=' if name == 'since' else '<'} ?", [micros(_instant(value, name, now))]
            case "tag":
                clause, bound = _tagged(value)
            case _:
                clause, bound = _like(name, value)
        clauses.append(clause)
        arguments.extend(bound)
    return " AND ".join(clauses), arguments


def checked_limit(limit: Any) -> int | None:
    """The limit as a number, None for no limit. Raises OptionError."""
    if limit is None:
        return None
    try:
        number = int(limit)
    except (TypeError, ValueError):
        raise OptionError("limit", limit, "must be a whole number", "for example limit=20") from None
    if number < 0 or number != float(limit):
        raise OptionError("limit", limit, "must be a whole number, 0 or more", "for example limit=20")
    return number


def _chosen(name: str, value: Any) -> tuple[str, list[Any]]:
    """A state takes outcomes too, as people say it: state="failed" are all runs that ended badly, whatever the reason."""
    states: list[str] = []
    outcomes: list[str] = []
    for word in _words(name, value):
        if name == "state" and word == "failed":
            outcomes.extend(FAILED)
        elif name == "state" and word in STATES:
            states.append(word)
        elif word in OUTCOMES:
            outcomes.append(word)
        else:
            known = OUTCOMES if name == "outcome" else (*STATES, *OUTCOMES)
            rule = f"is not {'an outcome' if name == 'outcome' else 'a state or outcome'} of a run"
            raise OptionError(name, word, rule, did_you_mean(word, known) or f"known: {', '.join(known)}")
    parts = [f"{column} IN ({', '.join('?' * len(found))})" for column, found in (("state", states), ("outcome", outcomes)) if found]
    return f"({' OR '.join(parts)})", [*states, *outcomes]


def _words(name: str, value: Any) -> list[str]:
    given = value if isinstance(value, list | tuple | set | frozenset) else [value]
    words = [word.strip() for item in given for word in str(item).split(",") if word.strip()]
    if not words:
        raise OptionError(name, value, "must not be empty", f"leave {name} out to see all")
    return words


def _like(name: str, value: Any) -> tuple[str, list[Any]]:
    """Text that the column contains, in any case; with * or ? the pattern of the whole."""
    words = _words(name, value)
    bound = []
    for word in words:
        escaped = re.sub(r"([\\%_])", r"\\\1", word)
        globbed = "*" in word or "?" in word
        bound.append(escaped.replace("*", "%").replace("?", "_") if globbed else f"%{escaped}%")
    return "(" + " OR ".join([f"{name} LIKE ? ESCAPE '\\'"] * len(words)) + ")", bound


def _tagged(value: Any) -> tuple[str, list[Any]]:
    """Tags that a run must have, all of them: `key`, `key=value`, a list of these, or a mapping."""
    if isinstance(value, Mapping):
        wanted = [(str(key), None if content is None else str(content)) for key, content in value.items()]
    else:
        texts = [str(item) for item in (value if isinstance(value, list | tuple) else [value])]
        wanted = [(key, content if separator else None) for key, separator, content in (text.partition("=") for text in texts)]
    if not wanted or not all(key for key, _ in wanted):
        raise OptionError("tag", value, "needs the name of a tag", "for example tag='project' or tag='project=forecast'")
    clauses, bound = [], []
    for key, content in wanted:
        same_value = " AND json_each.value = ?" if content is not None else ""
        clauses.append(f"EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.key = ?{same_value})")  # noqa: S608 - values are bound
        bound.extend([key] if content is None else [key, content])
    return "(" + " AND ".join(clauses) + ")", bound


_AGO_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _instant(value: Any, name: str, now: datetime) -> datetime:
    """An instant given as `7d` (ago), an ISO date or time, a date, or a datetime; without an offset it is local time.

    `until` a date means until that day is over.
    """
    example = f"for example {name}='7d', {name}='2026-11-01' or {name}='2026-11-01T14:30'"
    if isinstance(value, timedelta):
        return _before(now, value, name, value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.astimezone()
    if isinstance(value, date):
        return _day(value, name)
    text = str(value).strip()
    if re.fullmatch(r"(\d+(\.\d+)?\s*(min|[smhdw])\s*)+", text.lower()):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[smhdw])", text.lower())
        try:
            ago = sum((timedelta(**{_AGO_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
        except OverflowError:
            raise OptionError(name, value, "is too long ago", example) from None
        return _before(now, ago, name, value)
    try:
        if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
            return _day(date.fromisoformat(text), name)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(name, value, "must be a time ago, a date or a time", example) from None
    return at if at.tzinfo else at.astimezone()


def _before(now: datetime, ago: timedelta, name: str, value: object) -> datetime:
    try:
        return now - ago
    except OverflowError:
        raise OptionError(name, value, "is too long ago", f"leave {name} out to see all") from None


def _day(day: date, name: str) -> datetime:
    begins = day + timedelta(days=1) if name == "until" else day
    return datetime(begins.year, begins.month, begins.day).astimezone()  # a day as people mean it: local


def frame_of(columns: Sequence[list[Any]], home: Path | None = None) -> pd.DataFrame:
    """The DataFrame of columns selected as SELECTED: aware times, categories, nullable numbers, tags as dicts."""
    import numpy as np
    import pandas as pd

    _register()
    words, rest = columns[0], iter(columns[1:])
    made: dict[str, Any] = dict(_repeated(words))
    for name in _TEXTS:
        made[name] = pd.array(next(rest), dtype="string")
    for name in _INSTANTS:
        made[name] = pd.Series(np.array(next(rest), dtype="int64").view("M8[us]")).dt.tz_localize("UTC")
    for name in _WHOLE:
        made[name] = pd.array(next(rest), dtype="Int64")
    for name in _REAL:
        real = np.array(next(rest), dtype="float64")
        made[name] = pd.arrays.FloatingArray(real, np.isnan(real))
    made["spot"] = pd.array(np.array(next(rest), dtype="float64"), dtype="boolean")
    frame = pd.DataFrame({name: made[name] for name in FRAME_COLUMNS}, copy=False)
    if home is not None:
        frame.attrs["aci_home"] = str(home)
    return frame


def _repeated(words: list[str]) -> Iterator[tuple[str, Any]]:
    """The columns of _WORDS: each different text is read once, and taken as often as it occurs."""
    import numpy as np
    import pandas as pd

    places: dict[str, int] = {}
    codes = np.array([places.setdefault(text, len(places)) for text in words], dtype=np.intp)
    read = [json.loads(text) for text in places]
    for column, name in enumerate(_WORDS):
        values = [row[column] for row in read]
        if name == "tags":
            known = [json.loads(text) if text else {} for text in values]
            yield name, np.fromiter((known[code].copy() for code in codes), dtype=object, count=len(codes))
        elif name in _CHOICES:
            later = sorted(set(values) - set(_CHOICES[name]) - {None})  # words of a later version of this package
            every = [*_CHOICES[name], *later]
            taken = np.array([-1 if word is None else every.index(word) for word in values], dtype=np.int16)
            yield name, pd.Categorical.from_codes(taken[codes] if values else taken, categories=pd.Index(every))
        else:
            yield name, pd.array(values, dtype="string").take(codes)


@cache
def _register() -> None:
    import pandas as pd

    from .drawings import RunsAccessor

    pd.api.extensions.register_dataframe_accessor("aci")(RunsAccessor)
