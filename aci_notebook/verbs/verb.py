"""What a verb is, and what all of them share: the desk they work at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, RunNotFound
from ..line import Parsed, option_line
from ..payload import RUN_TAG
from ..table import BY_NAME, Field

if TYPE_CHECKING:
    from ..aci import AciBackend
    from ..magics import AciMagics
    from ..record import RunRecord
    from ..session import Session


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: `usage` is what follows its name, `words` (least, most) how many words it takes, `completes` what they are."""

    name: str
    call: Callable[[Desk, Parsed], Any]
    usage: str
    help: str
    fields: tuple[Field, ...] = ()
    words: tuple[int, int] = (0, 0)
    completes: str = ""
    command: bool = False

    def page(self) -> str:
        """The verb's help."""
        lines = [f"%aci {self.name} {self.usage}".rstrip(), f"  {self.help}"]
        return "\n".join([*lines, "", *(option_line(item) for item in self.fields)] if self.fields else lines)

    def check(self, given: Parsed) -> None:
        """Raises OptionError for too few or too many words, or a command where none belongs."""
        least, most = self.words
        example = f"%aci {self.name} {self.usage}".rstrip()
        if len(given.rest) < least:
            raise OptionError(f"%aci {self.name}", None, "needs more words", example)
        if len(given.rest) > most:
            raise OptionError(f"%aci {self.name}", given.rest[most], "is a word too many", example)
        if given.command and not self.command:
            raise OptionError(f"%aci {self.name}", " ".join(given.command), "takes no command after --", example)


def option(name: str) -> Field:
    """A field of the table, for a verb that has the same option."""
    return BY_NAME[name]


@dataclass(frozen=True, slots=True)
class Target:
    """A container group that a verb is about: its name, the run it belongs to if one is known, and who answers for it."""

    name: str
    record: RunRecord | None
    session: Session
    backend: AciBackend


class Desk:
    """What verbs work with, over one magics object."""

    def __init__(self, magics: AciMagics) -> None:
        self.magics = magics

    def session(self) -> Session:
        return self.magics.session()

    def record_of(self, words: Sequence[str]) -> RunRecord:
        """The run that the first word names; the last one without any. A variable that holds a Run goes before a prefix of others."""
        from ..runs import Run

        word = words[0] if words else "last"
        store = self.session().house.store
        held = self.magics.names().get(word)
        if not isinstance(held, Run):
            return store.find(word)
        try:
            found = store.find(word)
        except RunNotFound:
            return store.find(held.run_id)
        return found if word in {found.run_id, found.name} else store.find(held.run_id)

    def session_of(self, record: RunRecord) -> Session:
        return self.magics.session_of(record)

    def target_of(self, word: str) -> Target:
        """The group that a word means: of a run, or any group of the present resource group. A whole name goes before a prefix."""
        try:
            record = self.record_of([word])
        except RunNotFound as error:
            return self._foreign(word, error)
        whole = word in {record.run_id, record.name} or word.startswith("last")
        here = self.session()
        if not whole and (backend := here.backend()).get(word) is not None:
            return Target(word, None, here, backend)
        session = self.session_of(record)
        backend = session.backend(record.resource_group)
        live = backend.get(record.name) if word == record.name else None
        owned = live is None or live.tags.get(RUN_TAG) == record.run_id  # else the name is somebody else's by now
        return Target(record.name, record if owned else None, session, backend)

    def _foreign(self, word: str, error: RunNotFound) -> Target:
        """A group that no run of this history has, by its name or a unique prefix; raises the error where there is none."""
        session = self.session()
        backend = session.backend()
        if backend.get(word) is not None:
            return Target(word, None, session, backend)
        names = sorted(group.name for group in backend.list_groups() if group.name.startswith(word))
        if len(names) > 1:
            raise RunNotFound(f"{word!r} is the beginning of more than one group", hint=", ".join(names[:6])) from error
        if not names:
            raise error
        return Target(names[0], None, session, backend)

    def output_of(self, record: RunRecord) -> str:
        """The whole output of a run."""
        run = self.session().house.runs.get(record.run_id)
        if run is not None:
            return run.log()
        path = Path(record.log_path)
        if not path.exists():
            raise RunNotFound(f"run {record.name} has no log file here", hint=f"while its container exists: %aci attach {record.run_id}")
        return path.read_text(encoding="utf-8", errors="replace")


def say(text: str) -> None:
    """A verb's answer in words."""
    print(text)  # noqa: T201  # the person asked for it
