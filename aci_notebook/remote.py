"""Functions as runs: `run(fn)`, `submit(fn)`, `@remote(...)`. The function and its arguments travel by value, its return value comes home.

What runs there is a few lines that call it; so everything that holds for a cell holds for a function: options, display, errors, history.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from .errors import OptionError
from .runs import RETURNED

if TYPE_CHECKING:
    from .runs import Run
    from .spec import Input

P = ParamSpec("P")
T = TypeVar("T")
CALLED = "aci_called"
CODE = f"""\
import inspect
{RETURNED} = {CALLED}[0](*{CALLED}[1], **{CALLED}[2])
if inspect.isawaitable({RETURNED}):
    {RETURNED} = await {RETURNED}
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments, on its way."""

    name: str
    input: Input = field(repr=False)


def packed(function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Call:
    """The call, pickled by value. Raises OptionError where it cannot be."""
    from .exchange import encode

    if not callable(function):
        raise OptionError("function", function, "is neither a program's text nor a function", "aci_notebook.run(fn, args=(1, 2))")
    name = getattr(function, "__name__", type(function).__name__)
    if not isinstance(args, tuple | list):
        raise OptionError("args", args, "is a tuple of the function's arguments", f"args=({args!r},)")
    _check_call(function, name, args, kwargs or {})
    try:
        return Call(name, encode(CALLED, (function, args, dict(kwargs or {}))))
    except OptionError as error:
        raise OptionError(name, None, error.rule, "pass plain data, and open files and connections inside the function") from error


def _check_call(function: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises OptionError for arguments that the function does not take: a container that only finds that costs as much as any."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a decorator may give arguments of its own
    except (TypeError, ValueError):  # not every callable says what it takes
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise OptionError(name, None, f"does not take these arguments: {error}", f"it is {name}{signature}") from None


class RemoteFunction(Generic[P, T]):
    """A function that runs in a container group when it is called; `.submit` returns the Run at once, `.local` runs it here.

    In a container it is the function itself: what calls itself, or another remote function, calls it there.
    """

    def __init__(self, function: Callable[P, T], options: Mapping[str, Any]) -> None:
        self._function = function
        self._options = dict(options)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        from .api import run

        return cast(T, run(self._function, args=args, kwargs=kwargs, **self._options).result())

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Begins the call in the background; `run.result()` is what the function returns."""
        from .api import submit

        return submit(self._function, args=args, kwargs=kwargs, **self._options)

    def local(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The function itself, in this process."""
        return self._function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> RemoteFunction[..., T]:
        """The method of an object, where the function itself would become one."""
        bind = getattr(type(self._function), "__get__", None)
        bound = self._function if bind is None else bind(self._function, instance, owner)
        return self if bound is self._function else RemoteFunction(bound, self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.itemgetter(0), ((self._function,),)  # plain: this package is not there

    def __deepcopy__(self, memo: object = None) -> RemoteFunction[P, T]:
        return self  # a copy stays remote, and is one as functions are

    __copy__ = __deepcopy__

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"<remote function {getattr(self._function, '__name__', '?')}({options})>"


def remote(*given: Any, **options: Any) -> Any:
    """Makes a function run in a container group.

        @aci_notebook.remote(cpu=2)
        def score(frame): ...

    `score(frame)` waits and returns its value, `score.submit(frame)` returns a Run, `score.local(frame)` runs here.
    """
    if len(given) == 1 and callable(given[0]) and not options:
        return RemoteFunction(given[0], {})
    if given:
        raise OptionError("remote", None, "takes options by name", "for example @aci_notebook.remote(cpu=2)")
    from .api import check_options

    check_options(options)
    return lambda function: RemoteFunction(function, options)
