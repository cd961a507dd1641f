"""`%aci VERB`: each verb is one method; its docstring's first line is its help. Tables are DataFrames."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import line as text
from .display.live import CellView
from .errors import OptionError, RunNotFound, did_you_mean
from .watch import estimator, watch

if TYPE_CHECKING:
    import pandas as pd

    from .magics import AciMagics
    from .record import RunRecord
    from .runs import Run
    from .session import Session


class Verbs:
    """The verbs of `%aci`, over one magics object."""

    def __init__(self, magics: AciMagics) -> None:
        self.magics = magics

    def dispatch(self, line: str) -> Any:
        """Runs the verb that the line begins with. Raises OptionError with did-you-mean for an unknown one."""
        word, _, rest = line.strip().partition(" ")
        if not word or word in {"-h", "--help", "help"}:
            print(self.help())  # noqa: T201  # the person asked for it
            return None
        if word.startswith("-"):
            return self.options_only(line)
        verb = VERBS.get(word)
        if verb is None:
            raise OptionError(f"%aci {word}", None, "is not a verb", did_you_mean(word, VERBS) or "%aci help lists the verbs")
        return verb(self, rest.strip())

    def options_only(self, line: str) -> None:
        """A `%%aci` line without a body: --help, or an error that says what is missing."""
        if text.parse(line, self.magics.evaluate).wants_help:
            print(text.help_text())  # noqa: T201  # the person asked for it
            return
        raise OptionError(
            "%%aci", None, "the cell has no code below the magic line", "write the program below it, or use %aci run -- COMMAND"
        )

    def help(self) -> str:
        lines = ["%aci VERB", ""]
        lines += [f"  {name:<10} {(verb.__doc__ or '').strip().splitlines()[0]}" for name, verb in VERBS.items()]
        return "\n".join(
            [*lines, "", "Runs are named by id, by group name, by a unique prefix, or as last, last~2. %%aci --help lists the options."]
        )

    # -- verbs ----------------------------------------------------------------------------------------------------

    def run(self, rest: str) -> Run | None:
        """[options] [-- COMMAND…]: runs a command of the image, or the image's own"""
        parsed = text.parse(rest, self.magics.evaluate)
        if parsed.wants_help:
            print(text.help_text())  # noqa: T201  # the person asked for it
            return None
        if "image" not in parsed.values and not parsed.command:
            raise OptionError("%aci run", None, "has neither an image nor a command", "%aci run --image alpine -- echo hello")
        return self.magics.run(parsed.values, None, parsed.command)

    def ps(self, rest: str) -> pd.DataFrame:
        """[-a]: runs that are not over; with -a all groups of the resource group"""
        import pandas as pd

        everything = _switch(rest, {"-a", "--all"}, "ps")
        session = self.magics.session()
        known = {record.name: record for record in session.house.store.records(limit=1000)}
        rows = []
        for group in session.backend().list_groups():
            run_id = group.tags.get("aci-notebook-run", "")
            record = known.get(group.name)
            if not everything and not run_id:
                continue
            snapshot = session.backend().get(group.name)
            container = snapshot.container() if snapshot else None
            rows.append(
                {
                    "run_id": run_id or None,
                    "name": group.name,
                    "state": record.state if record else None,
                    "group_state": snapshot.group_state if snapshot else None,
                    "image": container.image if container else None,
                    "cpu": container.cpu if container else None,
                    "memory_gb": container.memory_gb if container else None,
                    "location": group.location,
                    "created_at": record.created_at if record else None,
                    "expires": group.tags.get("aci-notebook-expires"),
                    "user": group.tags.get("aci-notebook-user"),
                }
            )
        columns = ["run_id", "name", "state", "group_state", "image", "cpu", "memory_gb", "location", "created_at", "expires", "user"]
        return pd.DataFrame(rows, columns=columns)

    def logs(self, rest: str) -> None:
        """RUN [--tail N]: the output of a run, from its log file or its container"""
        words, tail = _tail(rest, "logs")
        record = self.record_of(words, "logs")
        output = self.output_of(record)
        lines = output.splitlines(keepends=True)
        sys.stdout.write("".join(lines[-tail:] if tail is not None else lines))

    def attach(self, rest: str) -> None:
        """RUN: shows a run here: header, whole log, and what comes"""
        record = self.record_of(rest.split(), "attach")
        session = self.session_of(record)
        run = session.house.runs.get(record.run_id) or session.adopt(record)
        view = CellView(run.record, estimate=estimator(session.house.folder))
        watch(run, view)
        from .launch import bring_home

        bring_home(self.magics, run, view)

    def wait(self, rest: str) -> None:
        """RUN…: waits until these runs are over"""
        for word in rest.split() or ["last"]:
            record = self.record_of([word], "wait")
            run = self.magics.session().house.runs.get(record.run_id)
            if run is None and record.outcome is None:
                run = self.session_of(record).adopt(record)
            if run is not None:
                run.wait()

    def stop(self, rest: str) -> None:
        """RUN: ends a run; its container group is deleted"""
        record = self.record_of(rest.split(), "stop")
        run = self.magics.session().house.runs.get(record.run_id)
        if run is not None and run.cancel("stopped with %aci stop"):
            run.wait()
            return
        self.delete_group(record)

    def rm(self, rest: str) -> None:
        """RUN: deletes the container group of a run, running or kept"""
        record = self.record_of(rest.split(), "rm")
        run = self.magics.session().house.runs.get(record.run_id)
        if run is not None and run.cancel("removed with %aci rm"):
            run.wait()
            return
        self.delete_group(record)

    def history(self, rest: str) -> pd.DataFrame:
        """[--state --outcome --image --since --until --tag --notebook --name --limit]: the runs of this machine, as a DataFrame"""
        words = [word.text for word in text.split(rest)]
        filters: dict[str, Any] = {}
        names = ("state", "outcome", "image", "since", "until", "tag", "notebook", "name", "limit")
        while words:
            flag = words.pop(0)
            key, separator, value = flag.removeprefix("--").partition("=")
            if not flag.startswith("--") or key not in names:
                raise OptionError(flag, None, "is not an option of %aci history", did_you_mean(flag, [f"--{name}" for name in names]))
            if not separator and not words:
                raise OptionError(flag, None, "needs a value", f"for example %aci history {flag}=…")
            filters[key] = value if separator else words.pop(0)
        return self.magics.session().house.store.frame(**filters)

    # -- what verbs share -----------------------------------------------------------------------------------------

    def record_of(self, words: Sequence[str], verb: str) -> RunRecord:
        """The record that one word names; `last` without any."""
        if len(words) > 1:
            raise OptionError(f"%aci {verb}", " ".join(words), "takes one run", f"%aci {verb} {words[0]}")
        found: RunRecord = self.magics.session().house.store.find(words[0] if words else "last")
        return found

    def session_of(self, record: RunRecord) -> Session:
        return self.magics.session(record.target)

    def output_of(self, record: RunRecord) -> str:
        run = self.magics.session().house.runs.get(record.run_id)
        if run is not None:
            return run.log()
        from pathlib import Path

        path = Path(record.log_path)
        if not path.exists():
            raise RunNotFound(f"run {record.name} has no log file here", hint=f"while its container exists: %aci attach {record.run_id}")
        return path.read_text(encoding="utf-8", errors="replace")

    def delete_group(self, record: RunRecord) -> None:
        """Deletes the group of a run that nobody here follows, and says what became of it."""
        from .sweep import delete_group

        gone = delete_group(self.session_of(record), record)
        state = "is gone" if gone else f"may still exist; %aci ps shows it, and az container delete --name {record.name} removes it"
        print(f"container group {record.name} {state}")  # noqa: T201  # the verb's answer


Verb = Callable[[Verbs, str], Any]
VERBS: dict[str, Verb] = {
    "run": Verbs.run,
    "ps": Verbs.ps,
    "logs": Verbs.logs,
    "attach": Verbs.attach,
    "wait": Verbs.wait,
    "stop": Verbs.stop,
    "rm": Verbs.rm,
    "history": Verbs.history,
}


def _switch(rest: str, names: set[str], verb: str) -> bool:
    words = rest.split()
    for word in words:
        if word not in names:
            raise OptionError(f"%aci {verb}", word, "is not an option", f"it takes {' or '.join(sorted(names))}")
    return bool(words)


def _tail(rest: str, verb: str) -> tuple[list[str], int | None]:
    words, tail = rest.split(), None
    if "--tail" in words:
        place = words.index("--tail")
        value = words[place + 1] if place + 1 < len(words) else ""
        if not value.isdigit():
            raise OptionError("--tail", value or None, "is a number of lines", f"%aci {verb} last --tail 20")
        tail = int(value)
        del words[place : place + 2]
    return words, tail
