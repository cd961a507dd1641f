"""The history's pictures, by matplotlib where it is installed: phases as bars, and cost as bars.

No pyplot: figures are plain objects that nobody has to close. Every text that comes from outside is set with parse_math=False, as
a name with two dollar signs would otherwise be typeset, or raise.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from .display.header import symbol_of
from .display.html import shortened, visible
from .display.numbers import money

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("queued", "pulling", "starting", "running", "collecting")
_COLOURS = dict(zip(PHASES, ("#999999", "#56b4e9", "#e69f00", "#009e73", "#cc79a7"), strict=True))  # colour-blind eyes tell them apart
_BLUE = "#0072b2"
_DAY_S = 86_400.0
DAYS_NAMED = 8


def gantt(data: pd.DataFrame, *, clock: bool) -> Any:
    """A figure of rows (run_id, name, outcome, phase, begins_s, lasts_s): one bar a phase; None without matplotlib."""
    runs = list(dict.fromkeys(data["run_id"]))
    figure = _figure(9.0, 1.3 + 0.28 * len(runs))
    if figure is None:
        return None
    axes = figure.add_subplot()
    unit = _DAY_S if clock else 1.0
    for phase in PHASES:
        part = data[data["phase"] == phase]
        places = [runs.index(run_id) for run_id in part["run_id"]]
        lasts, begins = (part["lasts_s"] / unit).to_numpy(), (part["begins_s"] / unit).to_numpy()
        edge = {"color": _COLOURS[phase], "edgecolor": _COLOURS[phase], "linewidth": 0.8}  # a minute among days is still a line
        axes.barh(places, lasts, left=begins, height=0.7, **edge)
    last = data.groupby("run_id", sort=False).tail(1)
    for place, (outcome, begins, lasts) in enumerate(zip(last["outcome"], last["begins_s"], last["lasts_s"], strict=True)):
        if outcome != "succeeded":
            said = f"  {symbol_of(outcome)} {outcome}" if outcome else "  …"
            axes.text((begins + lasts) / unit, place, said, va="center", fontsize=8, parse_math=False)
    axes.set_yticks(range(len(runs)), [_label(name, 32) for name in last["name"]], parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    if clock:
        _clock_axis(axes)
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel("UTC" if clock else "seconds from the run's beginning")
    axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, [phase for phase in PHASES if (data["phase"] == phase).any()])
    return figure


def _clock_axis(axes: Any) -> None:
    from matplotlib import dates

    library: Any = dates
    locator = library.AutoDateLocator(tz=UTC)
    axes.xaxis_date(UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(library.ConciseDateFormatter(locator, tz=UTC))


def _legend(figure: Any, phases: list[str]) -> None:
    from matplotlib.patches import Patch

    marks = [Patch(color=_COLOURS[phase]) for phase in phases]
    figure.legend(marks, phases, loc="outside upper left", ncols=len(PHASES), frameon=False, fontsize=8)


def costs(data: pd.DataFrame, note: str) -> Any:
    """A figure of rows (by, key, runs, cost_usd, run_s): one panel for each `by`; None without matplotlib."""
    kinds = list(dict.fromkeys(data["by"]))
    parts = {kind: data[data["by"] == kind] for kind in kinds}
    heights = [2.2 if kind == "day" else 0.7 + 0.28 * min(len(parts[kind]), 12) for kind in kinds]
    figure = _figure(8.0, sum(heights) + 0.4)
    if figure is None:
        return None
    panels = figure.subplots(len(kinds), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        (_days if kind == "day" else _shares)(axes, parts[kind])
        title = f"by {kind}{' (UTC)' if kind == 'day' else ''}: {money(float(parts[kind]['cost_usd'].sum()))}"
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    if note:
        figure.supxlabel(note, fontsize=8, parse_math=False)
    return figure


def _days(axes: Any, part: pd.DataFrame) -> None:
    part = part.tail(31)
    amounts = part["cost_usd"].to_numpy(dtype=float)
    places, step = range(len(part)), max(1, -(-len(part) // DAYS_NAMED))
    axes.bar(places, amounts, color=_BLUE, width=0.7)
    axes.set_xticks(places[::step], list(part["key"])[::step], fontsize=8, parse_math=False)
    axes.set_xlim(-0.7, max(len(part), 6) - 0.3)
    axes.set_ylabel("USD")
    axes.set_ylim(bottom=0, top=None if amounts.any() else 1)


def _shares(axes: Any, part: pd.DataFrame) -> None:
    part = part.head(12)
    amounts = part["cost_usd"].to_numpy(dtype=float)
    axes.barh(range(len(part)), amounts, color=_BLUE, height=0.7)
    axes.set_yticks(range(len(part)), [_label(key, 40) for key in part["key"]], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(left=0, right=amounts.max() * 1.15 if amounts.any() else 1)
    axes.set_xlabel("USD", fontsize=8)
    for place, amount in enumerate(amounts):
        axes.text(amount, place, f" {money(amount)}", va="center", fontsize=8, parse_math=False)


def _label(text: object, limit: int) -> str:
    return shortened(visible(str(text)).replace("\n", " "), limit)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, min(height, 30.0)), layout="constrained")
