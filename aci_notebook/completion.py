"""Tab in `%aci` and `%%aci` lines: verbs, options, values, runs, variables. From what is at hand: no network, no server, under 30 ms.

IPython asks every matcher for every completion, so this one says at once whether a line is ours. What it raises would break completion
for everybody; trouble with the history is no reason for that, and gives no values.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from .errors import AciError
from .events import OutcomeKind

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from .magics import AciMagics
    from .table import Field

LIMIT = 20
KINDS = ["./", "azurefile://", "git+https://", "empty:"]
_LINE = re.compile(r"^\s*(?:[A-Za-z_]\w*\s*=\s*)?(%%?aci)(?=\s|$)(.*)$", re.DOTALL)
_DIRECTIVE = re.compile(r"^#\|\s*([A-Za-z-]*)$")


class AciMatcher:
    """IPython's context matcher for our lines."""

    matcher_identifier = "aci_notebook"
    matcher_priority = 200.0
    matcher_api_version = 2

    def __init__(self, magics: AciMagics) -> None:
        self._magics = magics
        self.__qualname__ = type(self).__qualname__  # IPython asks a matcher for it

    def __call__(self, context: CompletionContext) -> SimpleMatcherResult:
        from IPython.core.completer import SimpleCompletion

        lines = context.full_text.split("\n")
        text = lines[context.cursor_line][: context.cursor_position] if context.cursor_line < len(lines) else ""
        found = self.candidates(text, lines[0] if lines else "", context.cursor_line)
        if found is None:
            return {"completions": []}
        fragment, kind, words = found
        matches = [SimpleCompletion(word, type=kind) for word in words if word.startswith(fragment)]
        return {"completions": matches, "suppress": True, "matched_fragment": fragment, "ordered": True}

    def candidates(self, text: str, first: str, line: int) -> tuple[str, str, list[str]] | None:
        """(fragment, kind, words) for the text before the cursor; None where the line is not ours."""
        from .line import split
        from .table import FIELDS

        directive = _DIRECTIVE.match(text)
        if directive and line > 0 and first.lstrip().startswith("%%aci"):
            return directive.group(1), "option", sorted(f"{item.option.lstrip('-')}: " for item in FIELDS)
        found = _LINE.match(text)
        if found is None or (line > 0 and found.group(1) == "%%aci"):
            return None
        cell, rest = found.group(1) == "%%aci", found.group(2)
        if not rest:
            return None
        word = re.split(r"\s", rest)[-1]
        fragment = re.split(r"[=,]", word)[-1]
        try:
            words = [item.text for item in split(rest[: len(rest) - len(word)])]
        except AciError:  # an open quote: a value that is not ours to complete
            return fragment, "value", []
        return (fragment, *self._of(words, word, fragment, cell=cell))

    def _of(self, words: list[str], word: str, fragment: str, *, cell: bool) -> tuple[str, list[str]]:
        """(kind, words) for a fragment at the end of `word`, after whole `words`."""
        from .table import FIELDS

        fields, completes = FIELDS, ""
        if not cell:
            from .verbs import VERBS

            if not words:
                return "verb", list(VERBS)
            verb = VERBS.get(words[0])
            if verb is None:
                return "verb", []
            fields, completes = verb.fields, verb.completes
        if "--" in words:
            return "value", []
        by_flag = {flag: item for item in fields for flag in item.flags}
        flag = word.partition("=")[0] if word.startswith("--") and "=" in word else (words or [""])[-1]
        owner = by_flag.get(flag)
        if owner is not None and not owner.switch:
            return "value", self._values(owner, fragment)
        if cell or fragment.startswith("-") or not completes:
            given = {by_flag[item.partition("=")[0]].name for item in words if item.partition("=")[0] in by_flag}
            return "option", [*(item.option for item in fields if item.repeat or item.name not in given), "--help"]
        return "value", self._words(completes, words)

    def _values(self, item: Field, fragment: str) -> list[str]:
        if item.choices:
            return list(item.choices)
        if item.presets:
            return [f"{preset:g}" for preset in item.presets]
        sources: dict[str, Callable[[], list[str]]] = {
            "image": self._images,
            "inputs": self._variables,
            "outputs": self._variables,
            "as_name": self._variables,
            "location": self._locations,
            "on": lambda: ["azure", "local", *self._profiles()],
            "profile": self._profiles,
            "lang": lambda: ["python", "bash", "sh"],
            "env_file": lambda: _files(fragment),
            "requirements_file": lambda: _files(fragment),
            "spec_file": lambda: _files(fragment),
            "volumes": lambda: [*KINDS, *(_files(fragment) if fragment.startswith((".", "/", "~")) else [])],
            "state": lambda: ["queued", "pulling", "starting", "installing", "running", "ended", "detached"],
            "outcome": lambda: list(get_args(OutcomeKind)),
        }
        source = sources.get(item.name)
        return source() if source is not None else []

    def _words(self, kind: str, words: list[str]) -> list[str]:
        if kind == "run":
            return ["last", *self._handles(), *self._runs()]
        if kind == "verb":
            from .verbs import VERBS

            return list(VERBS)
        if kind == "profile":
            return ["list", "use", "save"] if len(words) == 1 else self._profiles()
        if kind == "local":
            from .verbs.places import FAULT_KINDS

            return ["status", "stop", "fault"] if len(words) == 1 else ["list", "clear", *FAULT_KINDS] if words[1] == "fault" else []
        return []

    def _handles(self) -> list[str]:
        """Variables that hold a Run; there is none before the first one was made."""
        room = sys.modules.get(f"{__package__}.handle")
        return [] if room is None else [name for name in self._variables() if isinstance(self._magics.ipython.user_ns[name], room.Run)]

    def _runs(self) -> list[str]:
        return list(dict.fromkeys(word for run_id, name, _ in self._recent() for word in (name, run_id)))

    def _images(self) -> list[str]:
        from .fields import default_image

        own = default_image(f"{sys.version_info[0]}.{sys.version_info[1]}")
        return list(dict.fromkeys([own, *(image for _, _, image in self._recent())]))

    def _recent(self) -> list[tuple[str, str, str]]:
        """(run id, name, image) of the last runs."""
        from .peek import recent
        from .settings import home

        return recent(home() / "history.sqlite", LIMIT)

    def _profiles(self) -> list[str]:
        try:
            return sorted(self._magics.settings().all_profiles())
        except AciError:
            return []

    def _locations(self) -> list[str]:
        from .pricing import PriceBook
        from .settings import home

        try:
            here = self._magics.settings().get("location")
        except AciError:  # settings that cannot be read: doctor's business, not completion's
            here = None
        return list(dict.fromkeys([*([here] if here else []), *PriceBook(home()).locations()]))

    def _variables(self) -> list[str]:
        shell = self._magics.ipython
        hidden = set(shell.user_ns_hidden)
        return sorted(name for name in shell.user_ns if not name.startswith("_") and name not in hidden)


def _files(fragment: str) -> list[str]:
    """What lies in the folder that a fragment names, each as it would be written; hidden ones where a dot asks for them."""
    folder, slash, begun = fragment.rpartition("/")
    try:
        entries = sorted(Path(folder + slash).expanduser().iterdir())
        names = [f"{item.name}/" if item.is_dir() else item.name for item in entries if item.name[0] != "." or begun[:1] == "."]
    except (OSError, RuntimeError):  # there is no such folder, or no such person after the ~
        return []
    return [f"{folder}{slash}{name}" for name in names]
