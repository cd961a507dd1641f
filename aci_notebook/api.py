"""The same from Python: `run` blocks and shows what a cell shows, `submit` returns at once, `history` is the DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .display.live import CellView
from .errors import OptionError
from .fields import check
from .parse import parse_variable
from .runs import RETURNED, Run, raise_failure
from .session import connect_for, house
from .table import BY_NAME
from .watch import estimator, show_results, watch

if TYPE_CHECKING:
    import pandas as pd

    from .session import Session
    from .spec import RunSpec

NOT_HERE = {"as_name", "detach", "dry_run"}


def run(program: str | Callable[..., Any], *, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Run:
    """Runs a program's text, or calls a function, in a container group and waits for it, shown as a cell is. Raises what it ended with.

        run = aci_notebook.run("print('hi')", cpu=1, memory_gb=1.5)
        run = aci_notebook.run(len, args=([1, 2],)); run.result()

    Options are those of `%%aci` under their Python names; `inputs` is a mapping of names to values, `on` says where.
    """
    said = _view_options(options)
    session, spec = prepared(program, args, kwargs, options)
    shown = check({**session.settings.shown(), **said})
    _say_where(session, spec, shown)
    with session.house.runs.reined():
        started = session.submit(spec)
        view = CellView(started.record, estimate=estimator(session.house.folder), **shown)
        watch(started, view)
    show_results(started, view)
    if started.record.outcome is not None and started.record.outcome.kind in {"succeeded", "output_missing"}:
        started.save()
    raise_failure(started)
    return started


def submit(
    program: str | Callable[..., Any], *, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
) -> Run:
    """Begins a run in the background and returns its handle.

    run = aci_notebook.submit("print('hi')")
    run.wait().log()
    """
    said = _view_options(options)
    session, spec = prepared(program, args, kwargs, options)
    _say_where(session, spec, {**session.settings.shown(), **said})
    return session.submit(spec, foreground=False)


def _say_where(session: Session, spec: RunSpec, shown: Mapping[str, Any]) -> None:
    if not shown.get("quiet") and (word := session.first_word(spec)):
        print(word)  # noqa: T201  # once a kernel: where the money goes


def history(
    *,
    state: Any = None,
    outcome: Any = None,
    image: Any = None,
    since: Any = None,
    until: Any = None,
    tag: Any = None,
    notebook: Any = None,
    name: Any = None,
    limit: int | None = None,
) -> pd.DataFrame:
    """The runs of this machine, newest first.

    aci_notebook.history(state="ended", since="7d")
    """
    return house().store.frame(
        limit, state=state, outcome=outcome, image=image, since=since, until=until, tag=tag, notebook=notebook, name=name
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Raises OptionError for an option that does not exist, or whose value cannot be right."""
    for name in NOT_HERE & set(options):
        raise OptionError(name, None, "belongs to a cell", "run waits, submit returns at once; %%aci --dry-run shows the resource")
    check({name: value for name, value in options.items() if name != "inputs"})


def _view_options(options: dict[str, Any]) -> dict[str, Any]:
    """Takes what only the display needs out of the options."""
    check_options(options)
    names = [name for name in options if BY_NAME.get(name) is not None and BY_NAME[name].of == "call"]
    return check({name: options.pop(name) for name in names})


def _input_name(name: Any) -> str:
    try:
        return parse_variable(name, "inputs")
    except OptionError as error:
        raise OptionError("inputs", name, error.rule, 'for example inputs={"frame": frame}') from None


def prepared(
    program: str | Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, options: dict[str, Any]
) -> tuple[Session, RunSpec]:
    """The session and the spec of a program's text or a function."""
    from .exchange import encode
    from .launch import language
    from .magics import check_python

    inputs = options.pop("inputs", None) or {}
    if not isinstance(inputs, Mapping):
        raise OptionError("inputs", inputs, "is a mapping of names to values", 'for example inputs={"frame": frame}')
    session = connect_for(options)
    encoded = tuple(encode(_input_name(name), value) for name, value in inputs.items())
    if isinstance(program, str):
        if args or kwargs:
            raise OptionError("args", None, "belong to a function", "give a program's text its values with inputs={…}")
        lang, code = language(options, program)
        if lang == "python":
            check_python(program, "program")
        return session, session.spec(options, code, inputs=encoded)
    from .remote import CODE, packed

    if encoded or options.get("outputs"):
        raise OptionError("inputs", None, "and outputs belong to a program's text", "a function has args=, and returns its value")
    call = packed(program, args, kwargs)
    return session, session.spec({**options, "outputs": RETURNED}, CODE, inputs=(call.input,), function=call.name)
