"""The same from Python: `run` blocks and shows what a cell shows, `submit` returns at once, `history` is the DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .display.live import CellView
from .runs import Run, raise_failure
from .session import connect, house
from .watch import estimator, show_results, watch

if TYPE_CHECKING:
    import pandas as pd

    from .session import Session
    from .spec import RunSpec


def run(code: str, **options: Any) -> Run:
    """Runs a program's text in a container group and waits for it, shown as a cell is. Raises what the run ended with.

        run = aci_notebook.run("print('hi')", cpu=1, memory_gb=1.5)

    Options are those of `%%aci` under their Python names; `inputs` is a mapping of names to values, `on` says where.
    """
    session, spec = _prepared(code, options)
    started = session.submit(spec)
    view = CellView(started.record, estimate=estimator(session.house.folder))
    watch(started, view)
    show_results(started, view)
    raise_failure(started)
    return started


def submit(code: str, **options: Any) -> Run:
    """Begins a run in the background and returns its handle.

    run = aci_notebook.submit("print('hi')")
    run.wait().log()
    """
    session, spec = _prepared(code, options)
    return session.submit(spec, foreground=False)


def history(**filters: Any) -> pd.DataFrame:
    """The runs of this machine, newest first: `state, outcome, image, since, until, tag, notebook, name, limit`.

    aci_notebook.history(state="ended", since="7d")
    """
    return house().store.frame(**filters)


def _prepared(code: str, options: dict[str, Any]) -> tuple[Session, RunSpec]:
    from .exchange import encode

    inputs = options.pop("inputs", None) or {}
    session = connect(options.pop("on", None))
    encoded = tuple(encode(name, value) for name, value in inputs.items())
    return session, session.spec(options, code, inputs=encoded)
