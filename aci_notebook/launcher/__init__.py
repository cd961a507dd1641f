"""The launcher: a form of core ipywidgets over the field table, and the panel of all runs. `form` puts it together; nothing heavy is
imported before somebody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .form import Launcher


def launcher() -> Launcher | None:
    """The form, shown by being the last value of a cell; where no widgets can be drawn, prints the same in plain text and gives None.

    import aci_notebook as aci
    aci.launcher()
    """
    from IPython.core.getipython import get_ipython

    from ..display.frontend import front_end
    from . import guide

    shell = get_ipython()
    if shell is None or front_end() != "html":
        print(guide.text())  # noqa: T201  # the text twin of the form
        return None
    try:
        from .current import open_form
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "ipywidgets":
            raise
        print(guide.text())  # noqa: T201  # the text twin of the form
        return None
    from ..extension import load

    load(shell)
    return open_form(shell.magics_manager.registry["AciMagics"])
