"""The exceptions a notebook can meet, grouped by who must act.

    AciError                      rendered in a few lines, without our frames
    ├── your line
    │   └── OptionError           (ValueError) option, value, rule, remedy; raised before anything is sent
    ├── your program
    │   └── RunFailed             the remote exception is its __cause__; or an exit code
    │       ├── OutOfMemory       more memory would do
    │       ├── RunTimeout        --timeout was reached inside the container
    │       ├── InstallFailed     pip could not install what the cell asked for
    │       ├── NoInterpreter     the image cannot run this kind of body
    │       └── OutputMissing     the program ended well, an -o variable could not be brought home
    ├── your account
    │   ├── SettingsError         (ValueError) half-configured, or an unknown profile
    │   ├── AuthError             no credential, an expired one, or no right
    │   ├── QuotaError            the subscription's limit in this region
    │   ├── NameTaken             a container group of this name exists
    │   └── RunNotFound           (LookupError) no run of this name, id or prefix
    ├── the service
    │   ├── ServiceError          it refused or could not be reached; carries status and code
    │   ├── Transient             one request failed; the engine tries again, people meet it as a reason only
    │   ├── ImagePullError        the image cannot be pulled
    │   ├── CapacityError         the region has no room now
    │   ├── StartTimeout          --start-timeout was reached before the container ran
    │   ├── Evicted               the platform ended the container
    │   └── GroupLost             somebody else stopped or deleted the container group
    └── our bug
        └── InternalError

    RunCancelled                  (KeyboardInterrupt, not an AciError) so that queued cells do not run

Each carries its data (`run_id`, `group_name`, `exit_code`, `status`, `code`) besides the message, and a `hint` that says what
to do next. `_render_traceback_` is IPython's own hook (honoured since 2012): the notebook shows exactly these lines in a
red box, and nbval, nbclient and papermill still see an ordinary exception (`notebook-facts` §2.9). When you add a class,
add it to the drawing and, if a run can end that way, to `lifecycle.verdict`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any


class AciError(Exception):
    """Base of all our errors: a message, and a hint that names the next step."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        run_id: str | None = None,
        group_name: str | None = None,
        exit_code: int | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.run_id = run_id
        self.group_name = group_name
        self.exit_code = exit_code
        self.status = status
        self.code = code

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, {k: v for k, v in self.__dict__.items() if k != "message"}))

    def _render_traceback_(self) -> list[str]:
        return [*_cause_lines(self), *f"{type(self).__name__}: {self}".splitlines()]


def _rebuild(cls: type[AciError], message: str, state: dict[str, Any]) -> AciError:
    error = cls.__new__(cls, message)
    AciError.__init__(error, message)
    error.__dict__.update(state)
    return error


_paint: Callable[[str], str] = str


def paint_with(paint: Callable[[str], str] = str) -> None:
    """From now on remote tracebacks are shown through `paint`; without one, as they are."""
    global _paint
    _paint = paint


def _cause_lines(error: BaseException) -> list[str]:
    """The remote traceback, where there is one; our own frames are never shown."""
    remote = getattr(error, "remote_traceback", "")
    if remote:
        return [*_paint(str(remote)).rstrip("\n").splitlines(), ""]
    cause = error.__cause__
    if cause is None or isinstance(cause, AciError):
        return []
    told = "".join(traceback.format_exception_only(cause)).strip()
    first = told.splitlines()[-1 if isinstance(cause, SyntaxError) else 0]  # a syntax error begins with its place
    return [] if (first.partition(": ")[2] or first) in str(error) else [first, ""]


class OptionError(AciError, ValueError):
    """A value that cannot be right: names the option, the value, the rule and the remedy."""

    def __init__(self, option: str, value: object, rule: str, remedy: str = "") -> None:
        shown = "" if value is None else f" {_short(value)}"
        super().__init__(f"{option}{shown}: {rule}", hint=remedy)
        self.option = option
        self.value = value
        self.rule = rule
        self.remedy = remedy


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` for the nearest known words, or an empty text."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _short(value: object, limit: int = 80) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _first_line(text: str, limit: int = 200) -> str:
    """The beginning of a text that stands whole in the traceback above."""
    first = text.split("\n", 1)[0][:limit]
    return first if first == text else f"{first} …"


class RunFailed(AciError):
    """The program failed: `exit_code`, and the remote exception as `__cause__` where it was one.

    `remote_type` and `remote_traceback` are texts. Where the remote exception's class exists here, the error raised is also an
    instance of it, so `except ValueError` around `aci_notebook.run` works.
    """

    remote_type: str = ""
    remote_traceback: str = ""
    record: Any = None

    def _render_traceback_(self) -> list[str]:
        if not self.remote_traceback:
            return super()._render_traceback_()
        return [*_cause_lines(self), *f"{type(self).__name__}: {_first_line(self.message)}".splitlines(), *self.hint.splitlines()]


class OutOfMemory(RunFailed):
    """The container used more memory than it was given (exit code 137)."""


class RunTimeout(RunFailed):
    """The time given by --timeout was used up; the container ended the program."""


class InstallFailed(RunFailed):
    """pip could not install the requirements; its own words are in the message."""


class NoInterpreter(RunFailed):
    """The image has no interpreter for this body."""


class OutputMissing(RunFailed):
    """The program succeeded, but a variable asked for with -o did not come home."""


class SettingsError(AciError, ValueError):
    """Settings that are incomplete or contradict each other; names what is missing and where to put it."""


class AuthError(AciError):
    """Azure refused the credential, or it could not be had."""


class QuotaError(AciError):
    """The subscription's quota in this region is used up."""


class NameTaken(AciError):
    """A container group of this name exists already, and it is not this run's."""


class RunNotFound(AciError, LookupError):
    """No run answers to this name, id or prefix."""


class ServiceError(AciError):
    """The service refused, or could not be reached until the run's deadline."""


class Transient(ServiceError):
    """One request failed in a way that may pass: throttled, 5xx, a dropped connection (`aci-facts` T7, T13).

    `retry_after_s` is what the service asked for, else None. `unreachable`: nobody answered at all.
    """

    retry_after_s: float | None = None
    unreachable: bool = False


class ImagePullError(ServiceError):
    """The image cannot be pulled: wrong name, no access, or the registry refuses."""


class CapacityError(ServiceError):
    """The region has no room for this size at this moment."""


class StartTimeout(ServiceError):
    """The container did not start within --start-timeout."""


class Evicted(ServiceError):
    """The platform ended the container before the program was done."""


class GroupLost(ServiceError):
    """The container group was stopped or deleted by somebody else."""


class InternalError(AciError):
    """A state that must not occur: our bug. Please report it with the text."""


class RunCancelled(KeyboardInterrupt):
    """The run was cancelled; a KeyboardInterrupt, so that a notebook's queued cells do not run (`notebook-facts` §2.9)."""

    def __init__(self, message: str, *, run_id: str | None = None, group_name: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.run_id = run_id
        self.group_name = group_name

    def _render_traceback_(self) -> list[str]:
        return [f"RunCancelled: {self.message}"]
