"""The history as a DataFrame: filters as SQL, columns with their right types, and the `.aci` accessor.

pandas is imported inside functions only: loading the extension must not pay for it. The accessor is registered when the first
frame is made, so a notebook that has a frame of ours has `.aci`, and one that has none has not paid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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

_INSTANTS = ("created_at", "started_at", "finished_at")
_WHOLE = ("exit_code", "log_lines", "log_bytes")
_REAL = ("queued_s", "pull_s", "run_s", "cpu", "memory_gb", "cost_usd", "peak_memory_gb", "cpu_s")
_CHOICES: Mapping[str, tuple[str, ...]] = {"state": STATES, "outcome": OUTCOMES}
_NO_INSTANT = -(2**63)

SELECTED = ", ".join(f"ifnull({name}, {_NO_INSTANT})" if name in _INSTANTS else name for name in FRAME_COLUMNS)
"""What `frame_of` takes: the columns of FRAME_COLUMNS in order."""


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
    import pandas as pd

    _register()
    made = {name: _column(name, values) for name, values in zip(FRAME_COLUMNS, columns, strict=True)}
    frame = pd.DataFrame(made, copy=False)
    if home is not None:
        frame.attrs["aci_home"] = str(home)
    return frame


def _column(name: str, values: list[Any]) -> Any:
    import numpy as np
    import pandas as pd

    if name in _INSTANTS:
        return pd.Series(np.array(values, dtype="int64").view("M8[us]")).dt.tz_localize("UTC")
    if name in _CHOICES:
        return _category(_CHOICES[name], values)
    if name in _REAL:
        real = np.array(values, dtype="float64")
        return pd.arrays.FloatingArray(real, np.isnan(real))
    if name in _WHOLE:
        return pd.array(values, dtype="Int64")
    if name == "spot":
        return pd.array(np.array(values, dtype="float64"), dtype="boolean")
    if name == "tags":
        return _dicts(values)
    return pd.array(values, dtype="string")


def _category(words: Sequence[str], values: list[Any]) -> Any:
    """A categorical of the known words, and of words that a later version may have written."""
    import numpy as np
    import pandas as pd

    codes: dict[str | None, int] = {word: code for code, word in enumerate(words)}
    later = sorted(set(values) - set(codes) - {None})
    codes.update((word, len(words) + place) for place, word in enumerate(later))
    codes[None] = -1
    return pd.Categorical.from_codes(np.array([codes[word] for word in values], dtype=np.int16), categories=pd.Index([*words, *later]))


def _dicts(texts: list[str | None]) -> Any:
    """A dict of its own for each row; each different text is read once."""
    import numpy as np

    known: dict[str | None, dict[str, str]] = {text: json.loads(text) if text else {} for text in set(texts)}
    return np.fromiter((known[text].copy() for text in texts), dtype=object, count=len(texts))


@cache
def _register() -> None:
    import pandas as pd

    from .drawings import RunsAccessor

    pd.api.extensions.register_dataframe_accessor("aci")(RunsAccessor)
