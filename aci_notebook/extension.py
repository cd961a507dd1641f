"""Loading into IPython and out again. Everything heavy waits until it is used: this must not import azure, pandas or ipywidgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .magics import AciMagics, bodyless

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_loaded: dict[int, AciMagics] = {}


def load(shell: InteractiveShell) -> None:
    """Registers the magics and the transformer for cells without a body; twice is once."""
    if id(shell) in _loaded:
        return
    magics = AciMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.append(bodyless)
    _loaded[id(shell)] = magics


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
    if bodyless in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(bodyless)
