"""A remote traceback in the colours that this notebook gives its own: IPython's theme, `%colors` as it is at that moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def painter(shell: InteractiveShell) -> Callable[[str], str]:
    """Text of a traceback -> the same with the shell's colours; unchanged where it has none."""

    def paint(text: str) -> str:
        name = str(shell.colors)
        if name.lower() == "nocolor":
            return text
        from pygments import highlight
        from pygments.formatters import Terminal256Formatter
        from pygments.lexers import PythonTracebackLexer

        return str(highlight(text, PythonTracebackLexer(stripnl=False), Terminal256Formatter(style=_style(name))))

    return paint


def _style(name: str) -> Any:
    """The pygments style of IPython's theme; before IPython 9 there are none, and the usual one is taken."""
    try:
        from IPython.utils.PyColorize import theme_table
    except ImportError:
        return "default"
    theme: Any = theme_table[name.lower()]
    return theme.as_pygments_style()
