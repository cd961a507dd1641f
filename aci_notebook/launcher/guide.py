"""The launcher in plain text, and the pieces of its page that are text and style. No widget here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from ..display.html import Child, el, minified, terminal_nodes, to_html
from ..display.render import css as run_css
from ..errors import OptionError
from ..fields import FIELDS


def with_program(cell: str) -> str:
    """The form's cell as it was last, for `%aci launch --last`. Raises OptionError before there was one."""
    if not cell.partition("\n")[2].strip():
        raise OptionError("%aci launch --last", None, "there is no form with a program in this kernel yet", "%aci launch opens one")
    return cell


def text() -> str:
    """What the form offers, for a place that cannot draw it."""
    lines = [
        "The launcher is a form of widgets; this place shows none. The same in a cell:",
        "",
        "    %%aci --cpu 2 --memory 4",
        "    print('the program, in Python')",
        "",
        "Its options:",
    ]
    lines += [f"  {field.option:<16} {field.help}" for field in FIELDS if field.control != "none"]
    return "\n".join([*lines, "", "%aci ps, %aci attach RUN, %aci stop RUN, %aci history: the runs. %%aci --help: every option."])


@cache
def css() -> str:
    """The style of the form, with the one that headers and output share."""
    own = files(__package__).joinpath("form.css").read_text("utf-8")
    return run_css(True) + minified(own)


def facts_html(estimate: str, warnings: Sequence[str], error: str) -> str:
    """Cost, warnings and what is wrong, below the equivalent cell."""
    rows: list[Child] = []
    if estimate:
        rows.append(el("div", {"class": "aci-facts"}, estimate))
    rows += [el("div", {"class": "aci-note aci-warn"}, f"▲ {warning}") for warning in warnings]
    rows += [el("div", {"class": "aci-note aci-bad"}, f"▲ {line}") for line in error.split("\n") if line]
    return to_html(el("div", {"class": "aci-run aci-off"}, *rows)) if rows else ""


def value_html(data: bytes) -> str:
    """The value of the program's last expression, as text."""
    shown = str(json.loads(data).get("text/plain", ""))
    return to_html(el("div", {"class": "aci-run aci-off"}, el("pre", {"class": "aci-output"}, *terminal_nodes(shown))))
