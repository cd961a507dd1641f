"""The form of this kernel: one lives at a time, and the one before it rests and says so."""

from __future__ import annotations

from ..magics import AciMagics
from .form import Launcher

_live: Launcher | None = None


def close_form() -> None:
    """Ends the form of this kernel, where there is one; runs go on."""
    global _live
    if _live is not None:
        _live.retire("aci_notebook was unloaded")
        _live = None


def open_form(magics: AciMagics) -> Launcher:
    """A new form; the one before it in this kernel rests."""
    global _live
    if _live is not None:
        _live.retire("a newer form of this notebook has taken over")
    _live = Launcher(magics)
    return _live
