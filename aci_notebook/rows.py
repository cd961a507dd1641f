"""A `RunRecord` as the history keeps it: one flat row for filters and the DataFrame, one JSON body for the whole record. Pure.

What never reaches the disk: values of secrets, values of the environment, bytes of inputs. Their names stay. A secret's
value that turns up in any text of the record (a message of pip, say) is masked on the way out.

Bodies outlive versions in both directions: a key that is unknown here is ignored, one that is missing takes the field's default, a
value that does not fit its field takes the default too. So a field may be added or dropped without a migration; one that people
filter by needs a column (`COLUMNS`, `row_of`, and a migration in `history`).
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from .record import RunRecord, redact
from .spec import Input, RunSpec, Secret

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

FRAME_COLUMNS = (
    "run_id", "name", "state", "outcome", "exit_code", "created_at", "started_at", "finished_at", "queued_s", "pull_s", "run_s",
    "image", "cpu", "memory_gb", "spot", "location", "target", "cost_usd", "peak_memory_gb", "cpu_s", "log_lines", "log_bytes",
    "notebook", "code", "tags", "error",
)  # fmt: skip
COLUMNS = (*FRAME_COLUMNS, "group_state", "updated_at")


def micros(at: datetime | None) -> int | None:
    """Microseconds since 1970, exact; None stays None. The store keeps instants as these, so that they sort and compare."""
    return None if at is None else (at - EPOCH) // MICROSECOND


def row_of(record: RunRecord, cost_usd: float | None) -> tuple[Any, ...]:
    """The values of COLUMNS, then the body. A phase's duration is None until the phase is over."""
    spec, outcome = record.spec, record.outcome
    mask = _masker(record)
    spans = dict(record.spans(record.updated_at or record.created_at))
    if outcome is None and record.phases:
        spans.pop(record.phases[-1][0], None)
    began = record.since("running") or record.since("collecting")
    peak = outcome.peak_memory_bytes if outcome else None
    values: dict[str, Any] = {
        "run_id": record.run_id,
        "name": mask(record.name),
        "state": record.state,
        "outcome": outcome.kind if outcome else None,
        "exit_code": outcome.exit_code if outcome else None,
        "created_at": micros(record.created_at),
        "started_at": micros(began),
        "finished_at": micros(record.ended_at),
        "queued_s": spans.get("queued"),
        "pull_s": spans.get("pulling"),
        "run_s": spans.get("running"),
        "image": mask(spec.image),
        "cpu": spec.cpu,
        "memory_gb": spec.memory_gb,
        "spot": int(spec.spot),
        "location": record.location or spec.location,
        "target": record.target,
        "cost_usd": cost_usd,
        "peak_memory_gb": None if peak is None else peak / 2**30,
        "cpu_s": outcome.cpu_s if outcome else None,
        "log_lines": record.lines,
        "log_bytes": record.bytes,
        "notebook": mask(record.notebook) or None,
        "code": None if spec.code is None else mask(spec.code),
        "tags": json.dumps({mask(key): mask(value) for key, value in spec.tags.items()}, ensure_ascii=False),
        "error": mask(outcome.reason or outcome.kind) if outcome and not outcome.succeeded else None,
        "group_state": record.group,
        "updated_at": micros(record.updated_at or record.created_at),
    }
    return (*(values[name] for name in COLUMNS), _body(record, mask))


def _masker(record: RunRecord) -> Callable[[str], str]:
    values = [secret.value for secret in record.spec.secrets if secret.value]
    return (lambda text: _storable(redact(text, values))) if values else _storable


def _storable(text: str) -> str:
    """Text that UTF-8 can hold: file names and messages may carry lone surrogates, and `save` must not fail for them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _body(record: RunRecord, mask: Callable[[str], str]) -> str:
    plain = _plain(record, mask)
    del plain["spec"]["code"]  # it has a column, and may be large
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


@cache
def _kept(kind: Any) -> tuple[str, ...]:
    """Names of the fields that may be stored."""
    dropped = {Secret: {"value"}, Input: {"data"}}.get(kind, set())
    return tuple(item.name for item in fields(kind) if item.name not in dropped)


def _plain(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {mask(str(key)): _plain(item, mask) for key, item in value.items()}
    if isinstance(value, RunSpec):
        plain = {name: _plain(getattr(value, name), mask) for name in _kept(RunSpec) if name != "env"}
        return {**plain, "env": dict.fromkeys(map(mask, value.env), "")}
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: _plain(getattr(value, name), mask) for name in _kept(kind)}
    return [_plain(item, mask) for item in value]


def record_of(body: str, code: str | None, known: Mapping[str, Any]) -> RunRecord:
    """The record of a stored body; `known` are plain values of its row, used where the body does not say."""
    try:
        stored = json.loads(body)
    except ValueError:
        stored = {}
    if not isinstance(stored, dict):
        stored = {}
    stored = {**known, **stored}
    spec = stored.get("spec")
    stored["spec"] = {**(spec if isinstance(spec, dict) else {}), "code": code}
    return cast(RunRecord, _build(RunRecord, stored))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _build(kind: Any, stored: Mapping[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for item in fields(kind):
        hint = _hints(kind)[item.name]
        try:
            values[item.name] = _made(hint, stored[item.name])
        except (KeyError, TypeError, ValueError):
            if item.default is MISSING and item.default_factory is MISSING:
                values[item.name] = _blank(hint)
    return kind(**values)


def _made(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = next(item for item in get_args(hint) if item is not type(None))
        return None if value is None else _made(inner, value)
    if value is None:
        raise ValueError("a value is missing")
    if hint is datetime:
        at = datetime.fromisoformat(value)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    if is_dataclass(hint):
        return _build(hint, value)
    if origin is tuple:
        inner, *more = get_args(hint)
        hints = (inner,) * len(value) if more == [Ellipsis] else (inner, *more)
        return tuple(_made(item, part) for item, part in zip(hints, value, strict=True))
    if hint is float:
        return float(value)
    if hint in (int, str, bool) and not isinstance(value, hint):
        raise TypeError(f"{value!r} is not {hint}")
    return dict(value) if origin is not None and isinstance(value, Mapping) else value


def _blank(hint: Any) -> Any:
    if hint is datetime:
        return EPOCH
    return _build(hint, {}) if is_dataclass(hint) else hint()
