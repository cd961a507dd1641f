"""`.aci` on a DataFrame of runs: `timeline()`, `cost()`, `table()`.

Each gives a `Drawing`: a picture where matplotlib is installed (the extra `lab`), and always the same content as plain text, which
is what a terminal, a screen reader and a saved notebook without pictures have. `data` holds the numbers behind it. The picture is
made without pyplot: no backend is chosen, no figure is kept open, and it shows in every front end. Names and paths come from
outside, so no text is read as mathematics (`$…$`), as markup, or as terminal escapes.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import pictures
from .display.header import symbol_of
from .display.html import NO_MATH, el, minified, shortened, style_sheet, to_html, visible
from .display.numbers import duration, money
from .errors import OptionError
from .pictures import PHASES

if TYPE_CHECKING:
    import pandas as pd

_MARKS = dict(zip(PHASES, "·░▒█▓", strict=True))
_NEEDED = ("run_id", "name", "state", "outcome", "created_at", "started_at", "finished_at", "queued_s", "pull_s", "run_s", "cost_usd")
_BY = ("day", "image", "notebook")
_WIDTH = 40
LOG_LINES_SHOWN, LOG_BYTES_SHOWN = 12, 4_000


class Drawing:
    """A picture with its text twin: `figure` (matplotlib's, or None), `text`, and the numbers in `data`."""

    def __init__(self, text: str, data: pd.DataFrame, *, figure: Any = None, html: str = "") -> None:
        self.text = text
        self.data = data
        self.figure = figure
        self._html = html

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str | None:
        return self._html or (None if self.figure is not None else to_html(el("pre", {"class": f"aci-drawing {NO_MATH}"}, self.text)))

    def _repr_png_(self) -> bytes | None:
        if self.figure is None:
            return None
        picture = io.BytesIO()
        with warnings.catch_warnings():  # a name may have letters that the font lacks: a box in the picture is no news
            warnings.simplefilter("ignore")
            self.figure.savefig(picture, format="png", dpi=110)
        return picture.getvalue()


class RunsAccessor:
    """`frame.aci`: what a history shows of itself; works on any selection of its rows.

    >>> history(since="7d").aci.timeline()
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = [name for name in _NEEDED if name not in frame.columns]
        if missing:
            raise AttributeError(f".aci works on the history's DataFrame; this one lacks {', '.join(missing)}")
        self._frame = frame

    def timeline(self, limit: int = 40, *, clock: bool | None = None, now: datetime | None = None) -> Drawing:
        """The phases of the newest runs as bars, oldest on top. `clock`: by the time of day, else from each run's own beginning.

        By default it is the clock where the bars can be seen on it: where the runs fill a twentieth of the time they span.
        """
        data = _phases(self._frame.sort_values("created_at").tail(_limit(limit)), now or datetime.now(UTC))
        if data.empty:
            return Drawing("no runs", data)
        ends = data["begins_s"] + data["lasts_s"]
        span = float(ends.max() - data["begins_s"].min())
        if clock is None:
            clock = span <= 0 or float(data["lasts_s"].sum()) >= span / 20
        if not clock:
            data = data.assign(begins_s=data["begins_s"] - data.groupby("run_id")["begins_s"].transform("min"))
        return Drawing(_bars(data, clock=clock), data, figure=pictures.gantt(data, clock=clock))

    def cost(self, by: str | None = None) -> Drawing:
        """What the runs cost by `day` (UTC, as it is billed), `image` or `notebook`; without `by`, all three."""
        if by is not None and by not in _BY:
            raise OptionError("by", by, f"must be one of {', '.join(_BY)}", "leave by out to see all three")
        data = _costs(self._frame, [by] if by else list(_BY))
        unknown = int(self._frame["cost_usd"].isna().sum())
        note = f"{unknown} of {len(self._frame)} runs have no known price and are not in it" if unknown else ""
        spent = bool((data["cost_usd"] > 0).any())
        if len(data) and not spent:
            local = "target" in self._frame.columns and bool((self._frame["target"] == "local").all())
            nothing = "nothing was spent: the local ACI costs nothing" if local else "nothing was spent"
            note = "; ".join(part for part in (nothing, note) if part)
        return Drawing(_cost_text(data, note), data, figure=pictures.costs(data, note) if spent else None)

    def table(self, limit: int = 50) -> Drawing:
        """The newest runs as a table for reading: states, times, sizes, costs, logs."""
        import pandas as pd

        newest = self._frame.sort_values("created_at", ascending=False).head(_limit(limit))
        logs = Path(self._frame.attrs["aci_home"], "logs") if "aci_home" in self._frame.attrs else None
        runs = [dict(zip(newest.columns, values, strict=True)) for values in newest.itertuples(index=False, name=None)]
        paths = [_log_of(run, logs) for run in runs]
        rows = [[*_row(run), path.name if path is not None else ""] for run, path in zip(runs, paths, strict=True)]
        part = f"{len(newest)} of " if len(newest) < len(self._frame) else ""
        note = f"{part}{len(self._frame)} {'run' if len(self._frame) == 1 else 'runs'}"
        if logs is not None:
            note += f" · logs are in {logs} · %aci logs NAME shows one"
        data = pd.DataFrame(rows, columns=list(_TABLE_HEAD))
        text = _aligned([list(_TABLE_HEAD), *rows])
        return Drawing(f"{text}\n{visible(note)}", data, html=_table_html(rows, paths, note))


def _limit(given: Any) -> int:
    """How many runs at most. Raises OptionError."""
    if isinstance(given, bool) or not hasattr(given, "__index__") or given < 0:
        raise OptionError("limit", given, "must be a whole number, 0 or more", "for example limit=20")
    return int(given)


def _phases(frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """One row for each phase of each run: seconds since 1970 when it begins, seconds that it lasts."""
    import pandas as pd

    found: list[tuple[Any, ...]] = []
    wanted = frame[["run_id", "name", "state", "outcome", "created_at", "started_at", "finished_at", "queued_s", "pull_s", "run_s"]]
    for run_id, name, state, outcome, created, started, finished, queued_s, pull_s, run_s in wanted.itertuples(index=False, name=None):
        begin = created.timestamp()
        end = max(begin, now.timestamp() if pd.isna(finished) else finished.timestamp())
        queued_to = begin + (queued_s if not pd.isna(queued_s) else 0.0 if not pd.isna(started) else end - begin)
        pulled_to = queued_to + (0.0 if pd.isna(pull_s) else pull_s)
        if pd.isna(pull_s) and state == "pulling":
            pulled_to = end
        started_at = end if pd.isna(started) else started.timestamp()
        ran_to = end if pd.isna(run_s) else started_at + run_s
        marks = [begin, queued_to, pulled_to, started_at, ran_to, end]
        for place, phase in enumerate(PHASES):
            lasts = min(marks[place + 1], end) - min(marks[place], end)
            if lasts > 0:
                found.append((run_id, name, "" if pd.isna(outcome) else outcome, phase, min(marks[place], end), lasts))
        if not any(row[0] == run_id for row in found[-len(PHASES) :]):
            found.append((run_id, name, "" if pd.isna(outcome) else outcome, "queued", begin, 0.0))
    return pd.DataFrame(found, columns=["run_id", "name", "outcome", "phase", "begins_s", "lasts_s"])


def _bars(data: pd.DataFrame, *, clock: bool) -> str:
    first = float(data["begins_s"].min())
    span = float((data["begins_s"] + data["lasts_s"]).max()) - first or 1.0
    lines = []
    for _, phases in data.groupby("run_id", sort=False):
        cells = [" "] * _WIDTH
        for phase, begins, lasts in zip(phases["phase"], phases["begins_s"], phases["lasts_s"], strict=True):
            start = min(_WIDTH - 1, int((begins - first) / span * _WIDTH))
            stop = max(start + 1, round((begins - first + lasts) / span * _WIDTH))
            cells[start:stop] = _MARKS[phase] * (min(stop, _WIDTH) - start)
        said = ", ".join(f"{phase} {duration(lasts)}" for phase, lasts in zip(phases["phase"], phases["lasts_s"], strict=True) if lasts)
        ended = phases["outcome"].iloc[0] or "not ended"
        lines.append([shortened(str(phases["name"].iloc[0]), 24), f"|{''.join(cells)}|", f"{ended}: {said}" if said else ended])
    begin = f"from {datetime.fromtimestamp(first, UTC):%Y-%m-%d %H:%M:%S} UTC" if clock else "from each run's beginning"
    legend = "  ".join(f"{_MARKS[phase]} {phase}" for phase in PHASES)
    return f"{_aligned(lines)}\n{begin}, {duration(span)} in all   {legend}"


def _costs(frame: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """One row for each day, image or notebook: runs with a known price, their cost and time, dearest (or earliest day) first."""
    import pandas as pd

    known = frame[frame["cost_usd"].notna()]
    parts = []
    for kind in kinds:
        keys = known["created_at"].dt.strftime("%Y-%m-%d") if kind == "day" else known[kind].fillna("(none)")
        part = (
            pd.DataFrame({"key": keys.astype(object), "cost_usd": known["cost_usd"].astype(float), "run_s": known["run_s"].fillna(0.0)})
            .groupby("key", sort=True)
            .agg(runs=("cost_usd", "size"), cost_usd=("cost_usd", "sum"), run_s=("run_s", "sum"))
            .reset_index()
        )
        part.insert(0, "by", kind)
        parts.append(part if kind == "day" else part.sort_values(["cost_usd", "runs"], ascending=False, kind="stable"))
    return pd.concat(parts, ignore_index=True)


def _cost_text(data: pd.DataFrame, note: str) -> str:
    blocks = []
    for kind, part in data.groupby("by", sort=False):
        total = float(part["cost_usd"].sum())
        lines = [[f"by {kind}", "runs", "running", "cost"]]
        shown = part.tail(31) if kind == "day" else part.head(12)
        for key, runs, cost, run_s in zip(shown["key"], shown["runs"], shown["cost_usd"], shown["run_s"], strict=True):
            lines.append([shortened(str(key), 48), f"{runs:,}", duration(float(run_s)), money(float(cost))])
        if len(shown) < len(part):
            lines.append([f"({len(part) - len(shown)} more)", "", "", ""])
        lines.append(["together", f"{int(part['runs'].sum()):,}", duration(float(part["run_s"].sum())), money(total)])
        blocks.append(_aligned(lines, right=(1, 2, 3)))
    return "\n\n".join([*blocks, *([note] if note else [])]) or "no runs"


_TABLE_HEAD = ("state", "name", "created (UTC)", "waited", "ran", "image", "size", "cost", "log")


def _row(run: dict[str, Any]) -> list[str]:
    """The text of each cell of the table, but for the log."""
    import pandas as pd

    def said(name: str, form: Callable[[Any], str]) -> str:
        value = run.get(name)
        return "" if value is None or pd.isna(value) else form(value)

    outcome = said("outcome", str)
    state = " ".join((symbol_of(outcome or run["state"]), outcome or run["state"]))
    if outcome and outcome != "succeeded" and said("exit_code", str):
        state += f" ({run['exit_code']})"
    spot = said("spot", lambda value: "spot" if value else "")
    size = " ".join(part for part in (said("cpu", "{:g} CPU".format), said("memory_gb", "{:g} GB".format), spot) if part)
    return [
        state,
        str(run["name"]),
        f"{run['created_at']:%Y-%m-%d %H:%M}",
        duration(sum(float(run[name]) for name in ("queued_s", "pull_s") if not pd.isna(run[name]))),
        said("run_s", duration),
        said("image", str),
        size,
        said("cost_usd", money),
    ]


def _log_of(run: dict[str, Any], logs: Path | None) -> Path | None:
    path = logs / f"{run['run_id']}.log" if logs is not None else None
    return path if path is not None and path.is_file() else None


def _end_of(path: Path) -> str:
    """The last lines of a log, without colours."""
    with path.open("rb") as file:
        whole = file.seek(0, os.SEEK_END)
        file.seek(max(0, whole - LOG_BYTES_SHOWN))
        lines = file.read().decode("utf-8", "replace").splitlines()
    shown = [visible(line) for line in lines[-LOG_LINES_SHOWN:]]
    return "\n".join(["…", *shown] if whole > LOG_BYTES_SHOWN or len(lines) > LOG_LINES_SHOWN else shown)


def _link(path: Path) -> str:
    """A link that a notebook's page can follow: below the working folder only, and not hidden; no browser opens another file from there."""
    try:
        below = path.resolve().relative_to(Path.cwd())
    except (OSError, ValueError):
        return ""
    return "" if any(part.startswith(".") for part in below.parts) else quote(os.fspath(below))


def _table_html(rows: Sequence[Sequence[str]], paths: Sequence[Path | None], note: str) -> str:
    head = to_html(el("thead", {}, el("tr", {}, *(el("th", {"scope": "col"}, name) for name in _TABLE_HEAD))))
    body = "".join(
        f"<tr>{''.join(to_html(el('td', {}, text)) for text in row[:-1])}<td>{_log_html(path)}</td></tr>"
        for row, path in zip(rows, paths, strict=True)
    )
    style = to_html(style_sheet(minified(files("aci_notebook.display").joinpath("table.css").read_text("utf-8"))))
    return f'{style}<table class="aci-table {NO_MATH}">{head}<tbody>{body}</tbody></table>{to_html(el("small", {}, note))}'


def _log_html(path: Path | None) -> str:
    """The end of the log, to be unfolded, and a link to the whole where a page can follow one."""
    if path is None:
        return ""
    end = _end_of(path)
    if not end:
        return "no output"
    folded = to_html(el("details", {}, el("summary", {}, path.name), el("pre", {"class": "aci-log-end"}, end)))
    link = _link(path)
    return folded + (f'<a href="{link}">whole log</a>' if link else "")  # quote() leaves nothing that ends an attribute


def _aligned(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of texts in columns, harmless in a terminal."""
    shown = [[visible(cell).replace("\n", " ") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)] if shown else []
    padded = [
        [cell.rjust(width) if place in right else cell.ljust(width) for place, (cell, width) in enumerate(zip(line, widths, strict=True))]
        for line in shown
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)
