"""`%%aci` and `%aci` in IPython: text becomes a spec, the spec a run, the run a display. Everything it knows about options comes from
the field table; everything it knows about runs from the session.

An error in the line is an ordinary exception that renders itself in a few lines, raised before anything is sent. A cell without a body
never reaches a cell magic (IPython raises first), so an input transformer turns `%%aci --help` and the like into the line magic.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Any as AnyTrait
from traitlets import TraitError, validate

from .errors import OptionError, did_you_mean
from .table import BY_NAME, FIELDS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .record import RunRecord
    from .runs import Run
    from .session import Session
    from .settings import Settings
    from .spec import Input


TRAITS = tuple(item.name for item in FIELDS if item.setting)


def _page() -> str:
    """The documentation of `%%aci`: what it does, and the table of options."""
    from .line import help_text

    return f"Runs a cell in a container group (%%aci), or a verb (%aci).\n\n{help_text()}"


def checked(name: str, value: Any) -> Any:
    """A value of `%config AciMagics`, as its option takes it; None or empty is not set. Raises OptionError."""
    return None if value is None or value == "" else BY_NAME[name].parse(value, f"%config AciMagics.{name} =")


@magics_class
class AciMagics(Magics):
    """The magics of aci_notebook. `%config AciMagics` sets defaults for this kernel."""

    profile: Any
    _scope: Mapping[str, Any] = {}  # the names around the line that is being read
    form_cell = ""  # what the launcher's form says, for `%aci launch --last`
    for _item in FIELDS:  # what may be set in a settings file may be set here
        if _item.setting:
            locals()[_item.name] = AnyTrait(None, allow_none=True, help=f"default {_item.option}: {_item.help}").tag(config=True)
    del _item

    @validate(*TRAITS)
    def _check(self, proposal: Any) -> Any:
        """The value as the option of the same name takes it; empty means not set."""
        try:
            return checked(proposal["trait"].name, proposal["value"])
        except OptionError as error:
            raise TraitError(str(error)) from error  # the one kind that traitlets takes back the value for

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def aci(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Runs a cell in a container group (%%aci), or a verb (%aci). `%%aci --help` and `%aci help` show all there is."""
        outer, self._scope = self._scope, local_ns or {}
        try:
            if cell is None:
                from .verbs import Verbs

                return Verbs(self).dispatch(line)
            return self.run_cell(line, cell)
        finally:
            self._scope = outer

    # -- %%aci ----------------------------------------------------------------------------------------------------

    def run_cell(self, line: str, cell: str) -> Run | None:
        """Runs the cell; returns the Run of a detached one, None otherwise. Raises what the run ended with."""
        from . import line as text

        parsed = text.parse(line, self.evaluate)
        if parsed.wants_help:
            print(text.help_text())  # noqa: T201  # the person asked for it
            return None
        below, _ = text.directives(cell)
        values = {**below, **parsed.values}
        return self.run(values, cell)

    def run(self, values: Mapping[str, Any], code: str | None, command: tuple[str, ...] = ()) -> Run | None:
        """The one way from checked text to a shown run, for cells and for `%aci run`."""
        from .launch import launch

        return launch(self, values, code, command)

    def settings(self) -> Settings:
        """The settings with this kernel's `%config` on top."""
        from .settings import Settings

        own = {name: getattr(self, name) for name in TRAITS if name != "profile" and getattr(self, name) is not None}
        return Settings(session=own, profile=self.profile)

    def session(self, on: str | None = None) -> Session:
        from .session import connect

        return connect(on, self.settings())

    def session_of(self, record: RunRecord) -> Session:
        """The session in which a run's group lives: of its own target, profile, subscription and group."""
        from .session import connect_for

        settings = self.settings()
        if record.target != "azure":
            return connect_for({"on": record.target}, settings)
        if record.profile in settings.all_profiles():
            settings = settings.with_profile(record.profile)  # its credential; the present one may be another's
        values = {"subscription": record.subscription_id, "resource_group": record.resource_group, "location": record.location}
        return connect_for({"on": "azure", **values}, settings)

    @property
    def ipython(self) -> InteractiveShell:
        """The shell that these magics belong to."""
        assert self.shell is not None
        return self.shell

    # -- the notebook's names -------------------------------------------------------------------------------------

    def names(self) -> dict[str, Any]:
        """The notebook's variables, and those of the function that the line stands in."""
        outer = self.ipython.user_ns
        return outer if not self._scope or self._scope is outer else {**outer, **self._scope}

    def evaluate(self, expression: str) -> Any:
        """A Python expression over these names."""
        return eval(expression, self.names())  # noqa: S307  # the person's own line

    def inputs(self, given: Sequence[tuple[str, str]]) -> tuple[Input, ...]:
        """The variables of -i, (name there, expression here), encoded. Raises OptionError for a missing or unpicklable one."""
        if not given:
            return ()
        from .exchange import encode

        found = []
        for name, expression in given:
            try:
                value = self.evaluate(expression)
            except NameError as error:
                missing = error.name or expression
                near = did_you_mean(missing, [known for known in self.names() if not known.startswith("_")])
                raise OptionError(
                    "--input", expression, f"{missing} is not defined in this notebook", near or "run its cell first"
                ) from None
            except SyntaxError as error:
                raise OptionError(
                    "--input", expression, f"is no expression of Python: {error.msg}", "for example --input a,b=f(a)"
                ) from None
            except Exception as error:  # whatever the person's own expression raises
                raise OptionError("--input", expression, f"raises {type(error).__name__}: {error}") from error
            found.append(encode(name, value))
        return tuple(found)

    def bind(self, names: Mapping[str, Any]) -> None:
        """Sets variables of the notebook."""
        self.ipython.user_ns.update(names)


_magic: Any = AciMagics.aci
_magic.getdoc = _page  # what %%aci? shows; IPython asks for it, it is not made at load


def check_python(cell: str, option: str = "%%aci") -> None:
    """A cell that cannot be Python is refused here: a container that only finds a syntax error costs as much as any."""
    try:
        compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        source = (error.text or "").rstrip("\n")
        hint = f"{source}\n{' ' * max((error.offset or 1) - 1, 0)}^" if source else ""
        if source.lstrip().startswith(("%", "!")):
            hint += "\nIPython's % and ! lines do not travel; use --pip for packages, --lang bash for shell commands"
        raise OptionError(option, None, f"line {error.lineno} of the cell: {error.msg}", hint) from None


def bodyless(lines: list[str]) -> list[str]:
    """Input transformer: `%%aci …` without a body becomes `%aci …`, because IPython refuses a cell magic without one.

    A terminal asks with the same transformers whether a text is complete; there `%%aci` alone is not, its body is still to come.
    """
    if not lines or not lines[0].startswith("%%aci") or any(item.strip() for item in lines[1:]):
        return lines
    wants_help = any(word in {"-h", "--help"} for word in lines[0].split())
    line = lines[0][1:]
    if line.split() == ["%aci"]:
        line = f"{line.rstrip()} --\n"  # nothing at all: an error about the missing program, not the list of verbs
    return [line, *lines[1:]] if wants_help or not _asked_for_completeness() else lines


def _asked_for_completeness() -> bool:
    """True within TransformerManager.check_complete, which has no other way to be told apart from running the cell."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(8):
        if frame is None:
            return False
        if frame.f_code.co_name == "check_complete":
            return True
        frame = frame.f_back
    return False
