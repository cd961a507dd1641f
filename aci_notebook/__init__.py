"""Azure Container Instances from a Jupyter notebook.

    %load_ext aci_notebook

    %%aci --cpu 4 --memory 8      # above a cell: it runs in a container group; %%aci --help shows every option
    %aci help                     # the verbs: ps, logs, stop, history, ...

The same from Python: `run`, `submit`, `remote`, `history`, `launcher`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"
__all__ = ["history", "launcher", "load_ipython_extension", "remote", "run", "submit", "unload_ipython_extension"]

_PUBLIC = {"run": "api", "submit": "api", "history": "api", "launcher": "launcher", "remote": "remote"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]  # what Tab shows after `aci.`: what is loaded on use, and no rooms


class _Package(ModuleType):
    # `history`, `launcher` and `remote` are functions here, and rooms of the same names: importing a room must not hide the function.
    # A remark and no docstring, which `aci?` would show.

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _PUBLIC or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Registers `%aci` and `%%aci`; says in one line if a run was still going when it was last seen."""
    from .extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Takes the magics and everything that came with them away again; runs go on."""
    from .extension import unload

    unload(shell)
