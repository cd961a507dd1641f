"""Loading into IPython and out again. Everything heavy waits until it is used: this must not import azure, pandas or ipywidgets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .colours import painter
from .completion import AciMatcher
from .errors import OptionError, paint_with
from .magics import TRAITS, AciMagics, bodyless, checked
from .peek import anything_left

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_loaded: dict[int, AciMagics] = {}


def load(shell: InteractiveShell) -> None:
    """Registers the magics and the transformer for cells without a body; twice is once."""
    if id(shell) in _loaded:
        return
    _leave_out_what_is_wrong(shell)
    magics = AciMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.append(bodyless)
    completer: Any = shell.Completer
    completer.custom_matchers.append(AciMatcher(magics))
    paint_with(painter(shell))
    _loaded[id(shell)] = magics
    _tell_what_was_left()


def _leave_out_what_is_wrong(shell: InteractiveShell) -> None:
    """A wrong value of ipython_config.py, or of an earlier %config, is named and not taken: it must not keep the magics away."""
    given = shell.config.get("AciMagics", {})
    for name in [name for name in given if name in TRAITS]:
        try:
            checked(name, given[name])
        except OptionError as error:
            del given[name]
            print(f"{error.message}; it is not taken\n{error.hint}".rstrip(), file=sys.stderr)  # noqa: T201


def _tell_what_was_left() -> None:
    """One line if something still ran when last seen, else nothing; reads the history alone."""
    from .settings import home

    folder = home()
    if not anything_left(folder / "history.sqlite"):
        return
    from .history import HistoryStore
    from .presence import Presence
    from .sweep import word_at_load

    store = HistoryStore(folder)
    try:
        word = word_at_load(store, Presence(folder))
    finally:
        store.close()
    if word:
        print(word)  # noqa: T201  # the one line that %load_ext may say


def unload(shell: InteractiveShell) -> None:
    """Removes what `load` added."""
    magics = _loaded.pop(id(shell), None)
    if magics is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("aci", None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    configurables: Any = shell.configurables
    configurables.remove(magics)
    completer: Any = shell.Completer
    completer.custom_matchers[:] = [item for item in completer.custom_matchers if not isinstance(item, AciMatcher)]
    if bodyless in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(bodyless)
    if not _loaded:
        paint_with()
        _let_go()


def _let_go() -> None:
    """Ends the form, and gives back what the kernel holds; only rooms that are open are asked. Runs that go on keep what they need."""
    form, session = (sys.modules.get(f"{__package__}.{room}") for room in ("launcher.current", "session"))
    if form is not None:
        form.close_form()
    if session is not None:
        session.leave()
