"""The DataFrame: its columns and types, filters and their errors, and what `.aci` draws."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_history import START, at, ended, run

from aci_notebook import events as ev
from aci_notebook import pictures
from aci_notebook.drawings import Drawing
from aci_notebook.errors import OptionError
from aci_notebook.frame import SELECTED, frame_of
from aci_notebook.history import HistoryStore
from aci_notebook.record import RunRecord, fold

# surface §5, typed here a second time on purpose
COLUMNS = [
    "run_id", "name", "state", "outcome", "exit_code", "created_at", "started_at", "finished_at", "queued_s", "pull_s", "run_s",
    "image", "cpu", "memory_gb", "spot", "location", "target", "cost_usd", "peak_memory_gb", "cpu_s", "log_lines", "log_bytes",
    "notebook", "code", "tags", "error",
]  # fmt: skip
REALS = ("queued_s", "pull_s", "run_s", "cpu", "memory_gb", "cost_usd", "peak_memory_gb", "cpu_s")


def cost(record: RunRecord) -> float | None:
    return {"a": 0.25, "b": 0.5}.get(record.run_id[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    made = HistoryStore(tmp_path / "home", cost=cost, now=lambda: at(10 * 86_400))
    yield made
    made.close()


@pytest.fixture
def full(store: HistoryStore) -> HistoryStore:
    """a0: ten days old, succeeded. a1: nine, oom. b1: two, cancelled. c1: an hour, runs. c2: just asked for."""
    store.save(replace(ended(run("a0"), exit_code=0, peak_memory_bytes=2**29, cpu_s=3.5), notebook="work/first.ipynb"))
    oom = ended(run("a1", begun_at=at(86_400), image="team.azurecr.io/train:7", tags={"project": "ads", "x": "1%"}), "oom", exit_code=137)
    store.save(replace(oom, notebook="work/second.ipynb"))
    store.save(ended(run("b1", name="train-big", begun_at=at(8 * 86_400), tags={"project": "forecast"}, spot=True), "cancelled"))
    begun = at(10 * 86_400 - 3600)
    store.save(fold(run("c1", begun_at=begun, target="azure"), ev.PhaseEntered(begun, "running", begun + timedelta(seconds=5))))
    store.save(run("c2", begun_at=at(10 * 86_400 - 1)))
    return store


def ids(frame: pd.DataFrame) -> list[str]:
    return [str(run_id) for run_id in frame["run_id"]]


# columns and types


def test_columns_and_types_are_the_same_with_rows_and_without(full: HistoryStore) -> None:
    frame, empty = full.frame(), full.frame(name="nothing-of-this-name")
    assert list(frame.columns) == COLUMNS
    assert list(empty.columns) == COLUMNS
    assert len(empty) == 0
    assert frame.dtypes.astype(str).to_dict() == empty.dtypes.astype(str).to_dict()
    kinds = frame.dtypes.astype(str)
    for name in ("created_at", "started_at", "finished_at"):
        assert kinds[name] == "datetime64[us, UTC]"
    assert {kinds[name] for name in ("exit_code", "log_lines", "log_bytes")} == {"Int64"}
    assert {kinds[name] for name in REALS} == {"Float64"}
    assert kinds["spot"] == "boolean"
    assert kinds["state"] == kinds["outcome"] == "category"
    assert kinds["run_id"] == "string"
    assert type(frame) is pd.DataFrame


def test_values(full: HistoryStore) -> None:
    row = full.frame(name="aci-a0").iloc[0]
    assert (row.run_id, row["name"], row.state, row.outcome, row.exit_code) == ("a0", "aci-a0", "ended", "succeeded", 0)
    assert row.created_at == pd.Timestamp(START)
    assert row.created_at.tzinfo is not None
    assert row.started_at == pd.Timestamp(at(18))
    assert row.finished_at == pd.Timestamp(at(60))
    assert (row.queued_s, row.pull_s, row.run_s) == (2.0, 12.0, 42.0)
    assert (row.cost_usd, row.peak_memory_gb, row.cpu_s, row.log_lines, row.log_bytes) == (0.25, 0.5, 3.5, 2, 8)
    assert (row.location, row.target, row.notebook, row.code, row.tags) == ("westeurope", "local", "work/first.ipynb", "print('hi')", {})
    assert row.error is pd.NA


def test_what_is_not_known_is_missing(full: HistoryStore) -> None:
    row = full.frame(name="aci-c1").iloc[0]
    assert row.state == "running"
    for name in ("outcome", "exit_code", "finished_at", "pull_s", "run_s", "cost_usd", "peak_memory_gb", "error"):
        assert pd.isna(row[name]), name
    assert row.queued_s == 5.0


def test_microseconds_survive(store: HistoryStore) -> None:
    moment = datetime(2026, 3, 29, 1, 59, 59, 123457, tzinfo=UTC)
    store.save(run("r1", begun_at=moment))
    assert store.frame()["created_at"][0].to_pydatetime() == moment


def test_tags_are_a_dict_of_each_row(full: HistoryStore) -> None:
    first, second = full.frame(), full.frame()
    first.loc[0, "tags"]["mine"] = "1"
    assert "mine" not in first.loc[1, "tags"]
    assert "mine" not in second.loc[0, "tags"]


def test_a_word_of_a_later_version_is_a_category_too(full: HistoryStore) -> None:
    full._open().execute("UPDATE runs SET outcome = 'teleported' WHERE run_id = 'a0'")
    frame = full.frame()
    assert frame.set_index("run_id").loc["a0", "outcome"] == "teleported"
    assert "succeeded" in frame["outcome"].cat.categories


# filters


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "c2 c1 b1 a1 a0"),
        ({"limit": 2}, "c2 c1"),
        ({"limit": 0}, ""),
        ({"state": "ended"}, "b1 a1 a0"),
        ({"state": "running"}, "c1"),
        ({"state": ["running", "queued"]}, "c2 c1"),
        ({"state": "running,queued"}, "c2 c1"),
        ({"state": "failed"}, "a1"),
        ({"state": "succeeded"}, "a0"),
        ({"state": ("running", "failed")}, "c1 a1"),
        ({"outcome": "failed"}, ""),
        ({"outcome": "oom"}, "a1"),
        pytest.param({"outcome": {"oom", "cancelled"}}, "b1 a1", id="a set of outcomes"),  # its text has no fixed order
        ({"image": "train"}, "a1"),
        ({"image": "TRAIN:7"}, "a1"),
        ({"image": "python*"}, "c2 c1 b1 a0"),
        ({"image": "train*"}, ""),
        ({"image": "python:3.1?-slim"}, "c2 c1 b1 a0"),
        ({"image": "_"}, ""),
        ({"image": "%"}, ""),
        ({"name": "train"}, "b1"),
        ({"name": ["train", "a0"]}, "b1 a0"),
        ({"notebook": "second"}, "a1"),
        ({"notebook": "work/*.ipynb"}, "a1 a0"),
        ({"tag": "project"}, "b1 a1"),
        ({"tag": "project=ads"}, "a1"),
        ({"tag": {"project": "ads", "x": None}}, "a1"),
        ({"tag": ["project", "x=1%"]}, "a1"),
        ({"tag": "x=1"}, ""),
        ({"tag": "x="}, ""),
        ({"since": "3d"}, "c2 c1 b1"),
        ({"since": "2h"}, "c2 c1"),
        ({"since": "1h 30m"}, "c2 c1"),
        ({"since": "90min"}, "c2 c1"),
        ({"since": "2w"}, "c2 c1 b1 a1 a0"),
        ({"since": timedelta(minutes=5)}, "c2"),
        ({"since": at(8 * 86_400)}, "c2 c1 b1"),
        ({"until": at(8 * 86_400)}, "a1 a0"),
        ({"until": "9d"}, "a0"),
        ({"since": "9d", "until": "1d"}, "b1 a1"),
        ({"since": "2026-11-28T10:00:00+00:00", "state": "ended"}, "b1"),
        ({"since": "2026-11-28T10:00:00.000001Z"}, "c2 c1"),
        ({"since": "1d", "tag": "project", "state": "ended"}, ""),
        ({"name": "'; DROP TABLE runs; --"}, ""),
        ({"tag": "a'b=\"c"}, ""),
    ],
    ids=str,
)
def test_filters(full: HistoryStore, filters: dict[str, Any], found: str) -> None:
    assert " ".join(ids(full.frame(**filters))) == found
    limit = filters.pop("limit", None)
    assert " ".join(record.run_id for record in full.records(limit, **filters)) == found


def test_a_day_is_the_local_one_and_until_holds_the_whole_day(store: HistoryStore) -> None:
    first = datetime(2026, 11, 20).astimezone()
    store.save(run("before", begun_at=first - timedelta(microseconds=1)))
    store.save(run("first", begun_at=first))
    store.save(run("last", begun_at=(datetime(2026, 11, 21)).astimezone() - timedelta(microseconds=1)))
    store.save(run("after", begun_at=datetime(2026, 11, 21).astimezone()))
    assert ids(store.frame(since="2026-11-20", until="2026-11-20")) == ["last", "first"]
    assert ids(store.frame(since=date(2026, 11, 20), until=date(2026, 11, 20))) == ["last", "first"]
    assert ids(store.frame(since="20261121")) == ["after"]
    assert ids(store.frame(since=datetime.fromisoformat("2026-11-21T00:00"))) == ["after"]
    assert ids(store.frame(until=pd.Timestamp(first).tz_convert("Asia/Tokyo"))) == ["before"]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"state": "runing"}, "state 'runing': is not a state or outcome of a run\ndid you mean running"),
        ({"state": ""}, "state '': must not be empty"),
        ({"outcome": "running"}, "outcome 'running': is not an outcome of a run"),
        ({"since": "yesterday"}, "since 'yesterday': must be a time ago, a date or a time\nfor example since='7d'"),
        ({"since": "7"}, "must be a time ago"),
        ({"since": "-7d"}, "must be a time ago"),
        ({"since": 7}, "must be a time ago"),
        ({"until": "2026-13-01"}, "until '2026-13-01': must be"),
        ({"since": "99999999d"}, "is too long ago"),
        ({"since": "9" * 400 + "d"}, "is too long ago"),
        ({"limit": "many"}, "limit 'many': must be a whole number"),
        ({"limit": -1}, "0 or more"),
        ({"limit": 1.5}, "whole number"),
        ({"tag": ""}, "needs the name of a tag"),
        ({"tag": "=x"}, "needs the name of a tag"),
        ({"tag": {}}, "needs the name of a tag"),
        ({"name": " , "}, "name ' , ': must not be empty"),
    ],
    ids=str,
)
def test_a_wrong_filter_names_option_value_rule_and_remedy(store: HistoryStore, filters: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        store.frame(**filters)
    assert words in str(caught.value)
    assert caught.value.option in filters


def test_neither_the_store_nor_its_records_need_pandas(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from aci_notebook.history import HistoryStore; from aci_notebook import drawings\n"
        "store = HistoryStore(Path(sys.argv[1])); store.records(); store.unfinished(); store.close()\n"
        "print(sorted({'pandas', 'matplotlib', 'IPython', 'azure', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# drawings


@pytest.fixture(params=["matplotlib", "text"])
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there is a picture."""
    if request.param == "text":
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    return bool(request.param == "matplotlib")


def check(drawing: Drawing, drawn: bool) -> None:
    """A picture or HTML, and always the text."""
    assert repr(drawing) == drawing.text != ""
    picture = drawing._repr_png_()
    assert (picture is not None and picture.startswith(b"\x89PNG")) == drawn
    assert (drawing._repr_html_() is None) == drawn


def test_timeline(full: HistoryStore, drawn: bool) -> None:
    frame = full.frame()
    drawing = frame.aci.timeline(now=at(10 * 86_400))
    check(drawing, drawn)
    assert "succeeded: queued 2 s, pulling 12 s, starting 4 s, running 42 s" in drawing.text
    assert "oom" in drawing.text
    assert "not ended: queued 5 s, running 59 min 55 s" in drawing.text
    lasts = drawing.data.groupby("run_id")["lasts_s"].sum()
    assert lasts["a0"] == pytest.approx(60)
    assert lasts["c1"] == pytest.approx(3600)
    assert lasts["c2"] == pytest.approx(1)
    assert "each run's beginning" in drawing.text  # ten days and a few minutes of work: nothing could be seen by the clock
    assert "2026-11-20 10:00:00 UTC" in frame.aci.timeline(clock=True, now=at(10 * 86_400)).text
    check(frame.aci.timeline(clock=True, now=at(10 * 86_400)), drawn)
    assert frame.aci.timeline(limit=2).data["run_id"].nunique() == 2


def test_timeline_takes_the_clock_where_it_can_be_seen(store: HistoryStore) -> None:
    for number in range(5):
        store.save(ended(run(f"r{number}", begun_at=at(number * 30))))
    drawing = store.frame().aci.timeline()
    assert "from 2026-11-20 10:00:00 UTC, 3 min in all" in drawing.text
    assert drawing.figure.axes[0].get_xlabel() == "UTC"


def test_the_picture_says_each_end_with_the_header_s_symbol(store: HistoryStore) -> None:
    for second, kind in enumerate(("succeeded", "cancelled", "oom", "stopped")):
        store.save(ended(run(f"a{second}", begun_at=at(second)), kind))  # type: ignore[arg-type]  # a plain text, where a Literal is meant
    figure = store.frame().aci.timeline().figure
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["■ cancelled", "✗ oom", "■ stopped"]


def test_a_minute_among_days_is_still_a_line(store: HistoryStore) -> None:
    store.save(ended(run("short")))
    store.save(fold(run("forgotten"), ev.PhaseEntered(START, "running", START)))
    drawing = store.frame().aci.timeline(now=at(30 * 86_400))
    short = drawing.figure.axes[0].patches[0]
    assert short.get_width() < 0.001, "days"
    assert short.get_linewidth() > 0
    assert short.get_edgecolor() == short.get_facecolor()


def test_names_keep_their_ends(store: HistoryStore) -> None:
    image = "myregistry.azurecr.io/a-team-with-a-name/and-a-project-with-a-longer-one/train:2026-11-23"
    for number in range(2):
        name = f"sweep-of-every-learning-rate-and-every-seed-{number}"
        store.save(ended(run(f"a{number}", name=name, begun_at=at(number), image=image)))
    timeline, costs = store.frame().aci.timeline(), store.frame().aci.cost("image")
    drawn = [label.get_text() for label in timeline.figure.axes[0].get_yticklabels()]
    assert [label[-7:] for label in drawn] == ["-seed-0", "-seed-1"]
    assert "seed-0 " in timeline.text
    assert "seed-1 " in timeline.text
    assert "train:2026-11-23" in costs.text


@pytest.mark.parametrize("number", [8, 9, 14, 31])
def test_days_do_not_overlap(store: HistoryStore, number: int) -> None:
    for day in range(number):
        store.save(ended(run(f"a{day}", begun_at=at(-86_400 * day))))
    figure = store.frame().aci.cost("day").figure
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) > 3
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("limit", ["x", -3, 2.5, None, True])
def test_a_wrong_limit_of_a_drawing_is_said(full: HistoryStore, limit: Any) -> None:
    for draw in (full.frame().aci.timeline, full.frame().aci.table):
        with pytest.raises(OptionError, match=r"limit.*: must be a whole number"):
            draw(limit)


def test_a_run_of_no_time_at_all_is_drawn(store: HistoryStore, drawn: bool) -> None:
    store.save(fold(run("r1"), ev.Ended(START, ev.Outcome("refused"))))
    drawing = store.frame().aci.timeline()
    check(drawing, drawn)
    assert "refused" in drawing.text


def test_cost(full: HistoryStore, drawn: bool) -> None:
    drawing = full.frame().aci.cost()
    check(drawing, drawn)
    totals = drawing.data.groupby("by")["cost_usd"].sum()
    assert totals.to_dict() == pytest.approx({"day": 1.0, "image": 1.0, "notebook": 1.0})
    days = drawing.data[drawing.data["by"] == "day"]
    assert list(days["key"]) == ["2026-11-20", "2026-11-21", "2026-11-28"]
    images = drawing.data[drawing.data["by"] == "image"].set_index("key")
    assert images.loc["python:3.12-slim", ["runs", "cost_usd"]].tolist() == [2, 0.75]
    assert drawing.data[drawing.data["by"] == "notebook"]["key"].iloc[0] == "(none)"
    assert "2 of 5 runs have no known price" in drawing.text
    only = full.frame().aci.cost("image")
    check(only, drawn)
    assert set(only.data["by"]) == {"image"}
    with pytest.raises(OptionError, match="must be one of day, image, notebook"):
        full.frame().aci.cost("colour")


def test_cost_of_nothing(store: HistoryStore, drawn: bool) -> None:
    assert store.frame().aci.cost().text == "no runs"
    assert store.frame().aci.timeline().text == "no runs"
    store.save(run("a1"))
    store._open().execute("UPDATE runs SET cost_usd = 0")
    local = store.frame().aci.cost()
    assert local.figure is None
    assert "nothing was spent: the local ACI costs nothing" in local.text
    assert "python:3.12-slim" in (local._repr_html_() or "")
    store.save(run("a2", target="azure"))
    store._open().execute("UPDATE runs SET cost_usd = 0")
    assert "nothing was spent\n" in store.frame().aci.cost().text + "\n", "it was on Azure too, and ended before it cost anything"


def test_table(full: HistoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    full.log_path("a0").write_text("".join(f"line {n}\n" for n in range(20)) + "</pre><script>alert(1)</script>\x1b[31mred\x1b[0m\n")
    monkeypatch.chdir(full.home.parent)
    drawing = full.frame().aci.table()
    assert drawing.figure is None
    lines = drawing.text.splitlines()
    assert " ".join(lines[0].split()) == "state name created (UTC) waited ran image size cost log"
    assert "✓ succeeded" in lines[5]
    assert "a0.log" in lines[5]
    assert "✗ oom (137)" in lines[4]
    assert "1 CPU 1.5 GB spot" in lines[3]
    assert "● running" in lines[2]
    assert "○ queued" in lines[1]
    assert "■ cancelled" in lines[3]
    html = drawing._repr_html_()
    assert html is not None
    assert "<summary>a0.log</summary>" in html
    assert "line 19\n&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;red</pre></details>" in html
    assert "line 8\n" not in html
    assert '<a href="home/logs/a0.log">whole log</a>' in html
    assert html.count("<tr>") == 6
    assert list(drawing.data["name"]) == ["aci-c2", "aci-c1", "train-big", "aci-a1", "aci-a0"]
    assert "2 of 5 runs" in full.frame().aci.table(limit=2).text


def test_no_link_where_a_page_could_not_follow_it(store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(run("a1"))
    store.log_path("a1").write_text("hi")
    monkeypatch.chdir(tmp_path)
    assert "whole log" in (store.frame().aci.table()._repr_html_() or "")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "whole log" not in (store.frame().aci.table()._repr_html_() or "")
    hidden = HistoryStore(tmp_path / "elsewhere" / ".data")
    hidden.save(run("a2"))
    hidden.log_path("a2").write_text("hi")
    html = hidden.frame().aci.table()._repr_html_() or ""
    hidden.close()
    assert "<summary>a2.log</summary>" in html
    assert "href" not in html


def test_hostile_text_stays_text(store: HistoryStore, drawn: bool) -> None:
    bad = "$\\frac{<script>alert(1)</script>$\x1b[2J\n日本語 $x$"
    store.save(replace(ended(run("a1", name=bad, image=bad)), notebook=bad, location=bad))
    frame = store.frame()
    for drawing in (frame.aci.timeline(), frame.aci.cost()):
        check(drawing, drawn)
    for drawing in (frame.aci.timeline(), frame.aci.cost(), frame.aci.table()):
        assert "\x1b" not in drawing.text
        assert "<script" not in (drawing._repr_html_() or "")


def test_aci_says_what_it_works_on() -> None:
    frame_of([[] for _ in SELECTED])  # the first frame of ours registers it
    with pytest.raises(AttributeError, match="lacks run_id"):
        _ = pd.DataFrame({"a": [1]}).aci


def test_aci_works_on_a_selection(full: HistoryStore) -> None:
    frame = full.frame()
    chosen = frame[frame["outcome"] == "oom"].reset_index(drop=True)
    assert chosen.aci.table().data["name"].tolist() == ["aci-a1"]
    assert "\n1 run · logs are in" in chosen.aci.table().text


def test_pictures_leave_no_figure_open(full: HistoryStore) -> None:
    import matplotlib.pyplot as plt

    full.frame().aci.timeline()
    full.frame().aci.cost()
    assert plt.get_fignums() == []
    assert pictures.PHASES[0] == "queued"


def test_the_frame_takes_part_in_pandas(full: HistoryStore) -> None:
    frame = full.frame()
    assert frame.groupby("outcome", observed=True)["run_s"].mean()["oom"] == 42.0
    assert frame["finished_at"].sub(frame["created_at"]).max() == pd.Timedelta(seconds=60)
    assert np.isclose(frame["cost_usd"].sum(), 1.0)
