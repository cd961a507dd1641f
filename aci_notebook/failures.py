"""From the record of a run that did not succeed to the exception a person meets. Pure, apart from rebuilding the remote exception.

One table: outcome kind → class. A program that raised comes with its own exception: rebuilt as `__cause__`, and the error raised is also
an instance of the remote class where that is possible, so `except ValueError` around a remote cell works as around a local one.
"""

from __future__ import annotations

import base64
import builtins
import json
import linecache
import pickle
import re
from collections.abc import Mapping
from types import MemberDescriptorType, WrapperDescriptorType
from typing import Any

from . import errors as er
from .record import RunRecord

_CLASSES: Mapping[str, type[er.AciError]] = {
    "failed": er.RunFailed,
    "oom": er.OutOfMemory,
    "timeout": er.RunTimeout,
    "install_failed": er.InstallFailed,
    "no_interpreter": er.NoInterpreter,
    "output_missing": er.OutputMissing,
    "pull_failed": er.ImagePullError,
    "start_timeout": er.StartTimeout,
    "quota": er.QuotaError,
    "capacity": er.CapacityError,
    "refused": er.ServiceError,
    "auth": er.AuthError,
    "name_taken": er.NameTaken,
    "evicted": er.Evicted,
    "restarted": er.Evicted,
    "stopped": er.GroupLost,
    "lost": er.GroupLost,
    "late": er.StartTimeout,
    "unreachable": er.ServiceError,
    "error": er.InternalError,
}


_GROUP_WORDS = {
    "gone": "deleted",
    "deleting": "being deleted",
    "asked": "looked for, and deleted where it exists",
    "alive": "about to be deleted; the service does not answer yet",
    "unverified": "possibly still there: %aci gc looks again and deletes it",
}


_OF_IPYTHON = (SyntaxError, BaseExceptionGroup)  # it shows these in its own way, through our frames, and does not ask how they render
_FRAME = re.compile(r'  File "([^"]+)", line (\d+), in ')


class RemoteError(Exception):
    """Stands for a remote exception whose class does not exist here, or cannot be built."""


def failure(record: RunRecord, remote: bytes | None = None) -> er.AciError | er.RunCancelled | None:
    """The exception of a finished run; None where it succeeded. `remote` is the runner's `error` object (JSON)."""
    outcome = record.outcome
    if outcome is None or outcome.succeeded:
        return None
    if outcome.kind == "cancelled":
        state = _GROUP_WORDS.get(record.group, record.group)
        words = f"run {record.name} was cancelled; its container group is {state}" if record.group != "unborn" else "nothing was sent"
        return er.RunCancelled(words, run_id=record.run_id, group_name=record.name)
    cls = _CLASSES[outcome.kind]
    data: dict[str, Any] = {
        "hint": outcome.hint,
        "run_id": record.run_id,
        "group_name": record.name,
        "exit_code": outcome.exit_code,
        "status": outcome.status,
        "code": outcome.code,
    }
    if remote is not None and issubclass(cls, er.RunFailed):
        built = _with_remote(cls, remote, data)
        if built is not None:
            return _recorded(built, record)
    reason = outcome.reason or "the program failed"
    message = f"{reason} (run {record.name})"
    if cls is er.RunFailed and outcome.exit_code is not None:
        message = f"the program ended with exit code {outcome.exit_code} (run {record.name})"
        words = outcome.reason.removeprefix(f"exit code {outcome.exit_code}").removeprefix(": ")
        message += f": {words}" if words else ""
    if outcome.kind == "install_failed" and record.install:
        message = "\n  ".join([f"{message}:", *record.install.splitlines()])
    if record.group == "unverified":
        data["hint"] = f"{data['hint']}\n{record.warnings[-1]}".strip()
    return _recorded(cls(message, **data), record)


def _recorded(error: er.AciError, record: RunRecord) -> er.AciError:
    if isinstance(error, er.RunFailed):
        error.record = record
    return error


def _with_remote(cls: type[er.AciError], remote: bytes, data: dict[str, Any]) -> er.RunFailed | None:
    try:
        told = json.loads(remote)
    except ValueError:
        return None
    cause = _rebuilt(told)
    message = f"{told.get('type', 'Exception')}: {told.get('message', '')}"
    error = _both(cls, cause, told, message, data)
    error.remote_type = str(told.get("type", ""))
    error.remote_traceback = _with_sources(str(told.get("traceback", "")))
    error.__cause__ = cause
    return error


def _with_sources(text: str) -> str:
    """The traceback with the lines of the notebook's own functions: only this process has their source."""
    lines = text.split("\n")
    found = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        found.append(line)
        frame = _FRAME.match(line)
        if frame and not after.startswith("    ") and (source := linecache.getline(frame.group(1), int(frame.group(2))).strip()):
            found.append(f"    {source}")
    return "\n".join(found)


def _rebuilt(told: Mapping[str, Any]) -> BaseException:
    """The remote exception itself; a RemoteError with its words where it cannot be had."""
    packed = told.get("pickle")
    if packed:
        try:
            made = pickle.loads(base64.b64decode(packed))  # noqa: S301  # what the person's own cell raised
        except Exception:  # noqa: BLE001  # any class may fail in any way to be rebuilt; its words remain
            made = None
        if isinstance(made, BaseException):
            return made
    return RemoteError(f"{told.get('type', 'Exception')}: {told.get('message', '')}")


def _both(cls: type[er.AciError], cause: BaseException, told: Mapping[str, Any], message: str, data: dict[str, Any]) -> er.RunFailed:
    """Our error, that is also of the remote exception's class; or of its nearest built-in one; or ours alone."""
    plain = cls(message, **data)
    assert isinstance(plain, er.RunFailed)
    made_of = args = (str(told.get("message", "")),)
    members: Mapping[str, Any] = {}
    kinds = [getattr(builtins, str(name), None) for name in told.get("bases") or ()]
    if not isinstance(cause, RemoteError):
        (made_of, members), args = _parts(cause), cause.args
        kinds.insert(0, type(cause))
    own = {name: value for name, value in plain.__dict__.items() if value or name in {"message", "hint"} or name not in cause.__dict__}
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception) or issubclass(kind, _OF_IPYTHON) or kind is Exception:
            continue
        try:
            return joined(cls, kind, made_of, args, {**members, **cause.__dict__, **own})
        except Exception:  # noqa: BLE001, S112  # layouts that do not go together, or a class with its own wishes: the next one says less
            continue
    return plain


def _parts(error: BaseException) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """(what the class is given to make such an exception again, what is set then and stands in no `__dict__`), as its pickle has it."""
    try:
        made = error.__reduce__()
    except Exception:  # noqa: BLE001  # anybody's method
        made = None
    if not isinstance(made, tuple) or made[0] is not type(error):
        return error.args, {}
    state = made[2] if len(made) > 2 and isinstance(made[2], dict) else {}
    return made[1], {name: value for name, value in state.items() if _is_member(type(error), name)}


def _is_member(kind: type, name: str) -> bool:
    """Whether it is a field of C's, as an ImportError's `name`: setting it is all that reaches it."""
    return isinstance(getattr(kind, name, None), MemberDescriptorType)


def joined(cls: type[er.AciError], remote: type[Exception], made_of: tuple[Any, ...], args: tuple[Any, ...], state: Any) -> er.RunFailed:
    """An error of both classes with the remote one's arguments and attributes; its own `__init__` is not run, unless it is C's."""

    def reduce(self: er.RunFailed) -> tuple[Any, ...]:
        return joined, (cls, remote, made_of, args, dict(self.__dict__))

    body = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__str__": cls.__str__, "__reduce__": reduce}
    body |= {"message": state["message"], "hint": state["hint"]}  # its text is ours, also where the remote class has a property so called
    both: Any = type(cls.__name__, (cls, remote), body)
    error: er.RunFailed = both.__new__(both, *made_of)
    native: Any = remote.__init__
    if isinstance(native, WrapperDescriptorType):
        native(error, *made_of)  # errno, filename, start and the like are no attributes that could be copied
    error.args = args
    error.__dict__.update(state)
    for name in state:
        if _is_member(remote, name):
            setattr(error, name, state[name])
    return error
