"""What the form knows of the house: settings, spec, history and money, behind questions that a form asks. No widget here.

Everything that reads variables happens in the kernel's own thread, as in a cell; what talks to a service (`begin`) may be called from
any thread, so that the kernel is never kept waiting.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..display.numbers import size
from ..errors import AciError, OptionError
from ..launch import language, prepared
from ..magics import check_python
from ..names import check_names
from ..parse import parse_inputs
from ..payload import EXPIRES_TAG, PAYLOAD_LIMIT_BYTES
from ..preview import as_yaml, estimate_lines, warnings
from ..session import connect_for
from ..spec import Input, RunSpec
from .cell import cell_text

if TYPE_CHECKING:
    from ..magics import AciMagics
    from ..session import House, Session

IMAGES_SHOWN = 12
VARIABLES_SHOWN = 200
ID_WORD = "<run id>"
EXPIRES_WORD = "<when it has surely ended>"


@dataclass(frozen=True, slots=True)
class Preview:
    """What the right side of the form shows: each text may be empty; `error` says what is wrong, `option` where."""

    cell: str
    resource: str = ""
    estimate: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""
    option: str = ""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the notebook as the chooser shows it."""

    name: str
    type_name: str
    size_bytes: int | None

    @property
    def label(self) -> str:
        """Name, type and about how large it is."""
        about = f"≈ {size(self.size_bytes)}" if self.size_bytes is not None else "size unknown"
        return f"{self.name} · {self.type_name} · {about}"


class Door:
    """The way from the form to the house, over one magics object."""

    def __init__(self, magics: AciMagics) -> None:
        self.magics = magics

    def house(self) -> House:
        """History and runs of this kernel."""
        from ..session import house

        return house()

    # -- what the controls offer ----------------------------------------------------------------------------------

    def defaults(self) -> dict[str, Any]:
        """What the settings say where the form says nothing."""
        return self.magics.settings().defaults()

    def suggestions(self, name: str) -> list[str]:
        """Values to choose from, for the controls that take any text: images used before, regions with a price, profiles."""
        from ..pricing import PriceBook

        if name == "image":
            records = self.house().store.records(limit=100)
            return list(dict.fromkeys(record.spec.image for record in records))[:IMAGES_SHOWN]
        if name == "location":
            return list(PriceBook(self.house().folder).locations())
        if name == "on":
            return ["local", "azure", *self.magics.settings().profiles]
        return ["python", "bash", "sh"] if name == "lang" else []

    def variables(self) -> list[Variable]:
        """The notebook's own variables, in the order of their names."""
        space = self.magics.ipython.user_ns
        hidden = self.magics.ipython.user_ns_hidden
        names = [name for name in space if not name.startswith("_") and name not in hidden]
        found = [_variable(name, space[name]) for name in sorted(names)[:VARIABLES_SHOWN]]
        return [item for item in found if item is not None]

    # -- what the form asks while somebody types ------------------------------------------------------------------

    def preview(self, values: Mapping[str, Any], code: str) -> Preview:
        """The equivalent cell, the resource, the cost and what to look out for. Evaluates nothing, pickles nothing, sends nothing."""
        cell = cell_text(values, code)
        if not code.strip():
            return Preview(cell, error="write the program that shall run in the container", option="code")
        try:
            session, given = self._session(values)
            lang, body = language(given, code)
            if lang == "python":
                check_python(code)
            spec = session.spec(given, body, inputs=self._sketched(given.pop("inputs", None)))
            record, plan = session.prepare(spec)
        except AciError as error:
            return Preview(cell, error=str(error), option=getattr(error, "option", ""))
        text = as_yaml(plan).replace(record.run_id, ID_WORD).replace(plan.tags[EXPIRES_TAG], EXPIRES_WORD)
        notes = (*self._program_notes(values, code, spec), *_size_notes(spec, plan.payload_bytes), *warnings(spec))
        return Preview(cell, text, "; ".join(estimate_lines(session, spec, plan.location)), notes)

    def _session(self, values: Mapping[str, Any]) -> tuple[Session, dict[str, Any]]:
        """The session that the values choose, and the values without those that only say where."""
        given = dict(values)
        return connect_for(given, self.magics.settings()), given

    def _sketched(self, given: Any) -> tuple[Input, ...]:
        """The variables of -i without their bytes."""
        space = self.magics.ipython.user_ns
        known = [(name, _variable(name, space[text]) if text in space else None) for name, text in parse_inputs(given or ())]
        return tuple(
            Input(name, b"", (item.size_bytes or 0) if item else 0, item.type_name if item else "an expression") for name, item in known
        )

    def _program_notes(self, values: Mapping[str, Any], code: str, spec: RunSpec) -> Iterator[str]:
        """What is wrong with the program, said while it is being written; `prepare` refuses the same."""
        if spec.lang != "python":
            return
        shipped = parse_inputs(values.get("inputs") or ())
        space = self.magics.ipython.user_ns
        try:
            check_names(code, [name for name, _ in shipped], space)
        except OptionError as error:
            yield str(error)
        for name, text in shipped:
            if text.isidentifier() and text not in space:
                yield f"--input {name}: {text} is not defined in this notebook"

    # -- running --------------------------------------------------------------------------------------------------

    def prepare(self, values: Mapping[str, Any], code: str) -> tuple[Session, RunSpec]:
        """The session and the whole spec, variables encoded. Raises OptionError; sends nothing."""
        session, given = self._session(values)
        return session, prepared(self.magics, session, given, code)


def _size_notes(spec: RunSpec, without_inputs: int) -> Iterator[str]:
    """Whether the variables may be too large; what they have once they are encoded is known when they are sent."""
    about = sum(item.size_bytes for item in spec.inputs)
    if without_inputs + about > PAYLOAD_LIMIT_BYTES:
        yield f"--input: about {size(about)} of variables; one request carries {size(PAYLOAD_LIMIT_BYTES)}, code and runner with them"


def _variable(name: str, value: Any) -> Variable | None:
    """What the chooser says about a variable; None for what nobody ships (modules, functions of IPython)."""
    kind = type(value)
    if isinstance(value, ModuleType) or kind.__name__ in {"Launcher", "Run"} or (kind.__module__ or "").startswith("IPython"):
        return None
    type_name = kind.__name__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__.split('.')[0]}.{kind.__name__}"
    return Variable(name, type_name, _bytes_of(value))


def _bytes_of(value: Any) -> int | None:
    """About how many bytes: what the object says itself, never a walk through it."""
    try:
        if hasattr(value, "memory_usage") and type(value).__module__.startswith("pandas"):
            used = value.memory_usage(index=True)
            return int(used.sum() if hasattr(used, "sum") else used)
        if isinstance(getattr(value, "nbytes", None), int):
            return int(value.nbytes)
        return sys.getsizeof(value)
    except Exception:  # noqa: BLE001  # any class may refuse to say its size; the chooser then says so
        return None


def assigned_names(code: str) -> list[str]:
    """Names that a program binds at its top level, in the order in which they stand: what -o can bring home."""
    try:
        seen = _TopLevel()
        seen.visit(ast.parse(code))
    except SyntaxError:
        return []
    return list(dict.fromkeys(seen.bound))


class _TopLevel(ast.NodeVisitor):
    """What assignments, loops, `with` and `:=` bind there; a function's names, and a comprehension's, are its own.

    symtable does not tell them apart: from Python 3.12 a comprehension's names stand among those around it.
    """

    def __init__(self) -> None:
        self.bound: list[str] = []

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store) and not node.id.startswith("_"):
            self.bound.append(node.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:  # a name that is only declared is not bound
            self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for part in (node.iter, *node.ifs):
            self.visit(part)
