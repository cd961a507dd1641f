"""What a cell does with its run: make the spec, start it, show it, bring its results into the notebook, raise its failure last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .display.live import CellView, DetachedView
from .errors import OptionError
from .fields import BY_NAME, FIELDS, check
from .names import check_names
from .parse import parse_inputs
from .runs import Run, raise_failure
from .session import Session, connect_for
from .spec import RunSpec
from .watch import estimator, show_results, watch, watch_in_background

if TYPE_CHECKING:
    from .magics import AciMagics


CALL = tuple(item.name for item in FIELDS if item.of == "call")


def launch(magics: AciMagics, values: Mapping[str, Any], code: str | None, command: tuple[str, ...] = ()) -> Run | None:
    """Runs a cell's text or a command with the options of its line. Returns the Run of a detached run, else None."""
    given = dict(values)
    said = {name: given.pop(name) for name in CALL if name in given}
    session = connect_for(given, magics.settings())
    call = check({**session.settings.shown(), **said})
    spec = prepared(magics, session, given, code, command)
    if call.get("dry_run"):
        from .preview import show

        show(session, spec)
        return None
    detach = bool(call.get("detach"))
    if detach and (spec.outputs or spec.output_paths) and not call.get("as_name"):
        wanted = ",".join((*spec.outputs, *spec.output_paths))
        remedy = "variables are then in NAME.outputs(), NAME.save() writes files and folders"
        raise OptionError("--output", wanted, "needs --as NAME in a detached run", remedy)
    quiet = bool(call.get("quiet"))
    if not quiet and (word := session.first_word(spec)):
        print(word)  # noqa: T201  # once a kernel: where the money goes
    with session.house.runs.reined():
        run = session.submit(spec, foreground=not detach)
        if call.get("as_name"):
            magics.bind({call["as_name"]: run})
        estimate = estimator(session.house.folder)
        if detach:
            watch_in_background(run, DetachedView(run.record, estimate=estimate, quiet=quiet))
            return run
        view = CellView(
            run.record,
            estimate=estimate,
            quiet=quiet,
            tail=call.get("tail"),
            timestamps=bool(call.get("timestamps")),
            lines_max=call.get("lines_max", BY_NAME["lines_max"].default),
        )
        watch(run, view)
    bring_home(magics, run, view)
    return None


def prepared(magics: AciMagics, session: Session, values: Mapping[str, Any], code: str | None, command: tuple[str, ...] = ()) -> RunSpec:
    """The spec of a cell or a command, with the notebook's variables; everything is checked, nothing is sent."""
    from .magics import check_python

    given = dict(values)
    shipped = parse_inputs(given.pop("inputs", None) or ())
    lang, code = language(given, code)
    if code is not None and lang == "python" and code.strip():
        check_python(code)
        check_names(code, [name for name, _ in shipped], magics.ipython.user_ns)
    return session.spec(given, code, command=command, inputs=magics.inputs(shipped))


def language(values: dict[str, Any], code: str | None) -> tuple[str, str | None]:
    """(interpreter, code): a shebang on the first line says the interpreter where --lang does not."""
    if code is None:
        return "", None
    first = code.lstrip("\n").split("\n", 1)[0]
    if first.startswith("#!") and "lang" not in values:
        words = first[2:].split()
        name = words[-1] if words and words[0].endswith("/env") else " ".join(words)
        if name.rsplit("/", 1)[-1].startswith("python"):
            return "python", code
        values["lang"] = name
    return str(values.get("lang") or "python"), code


def bring_home(magics: AciMagics, run: Run, view: CellView) -> None:
    """Value, figures and variables of a finished run; raises its failure last, so that everything else is there."""
    show_results(run, view)
    outcome = run.record.outcome
    if outcome is not None and outcome.kind in {"succeeded", "output_missing"}:
        found, unreadable = run.read()
        magics.bind(found)
        run.save()
        if unreadable is not None:
            raise unreadable
    raise_failure(run)
