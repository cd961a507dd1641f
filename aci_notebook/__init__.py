"""Azure Container Instances from a Jupyter notebook.

`%load_ext aci_notebook`, then `%%aci` above a cell; the same from Python: `run`, `submit`, `history`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"
__all__ = ["history", "load_ipython_extension", "run", "submit", "unload_ipython_extension"]

_PUBLIC = {"run": "api", "submit": "api", "history": "api"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Registers `%aci` and `%%aci`; says in one line if a run was still going when it was last seen."""
    from .extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Takes the magics and everything that came with them away again; runs go on."""
    from .extension import unload

    unload(shell)
