"""What is left of a run in a notebook: saved, opened by somebody else, turned into a page by nbconvert; and the history's own displays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lab as rooms
import nbformat
import pytest
from lab import Book, Lab
from nbconvert import HTMLExporter

from aci_notebook.history import HistoryStore
from aci_notebook.record import RunRecord
from aci_notebook.spec import RunSpec

pytestmark = pytest.mark.browser

Open = Callable[..., Book]
BAD = '<img src=x onerror="window.ran=1"><script>window.ran=1</script></td></table></style><style>*{display:none}</style>'
PROGRAM = f"""%%aci --memory 4 --env 'A={BAD}'
import os
print(os.environ["A"], "javascript:window.ran=1")
print("\\x1b[33myellow\\x1b[0m \\x1b[2J\\x1b[1;1Hhome")
os.environ["A"]"""
STATUS = ".aci-run [role=status]"
RAN = f"""import aci_notebook as aci
from dataclasses import replace
from aci_notebook.session import house
store, bad = house().store, {BAD!r}
run = store.find("last")
odd = replace(run, run_id="odd", name=bad, notebook=bad, location=bad, spec=replace(run.spec, image=bad, tags={{bad: bad}}, code=bad))
store.save(odd)
store.log_path("odd").write_text(bad + "\\n\\x1b[2J\\x1b]8;;javascript:window.ran=1\\x07link\\x1b]8;;\\x07")
runs = aci.history(name="*")
runs.aci.table()"""


@pytest.fixture
def saved(lab: Lab, book: Open) -> dict[str, Any]:
    """A notebook with a run, as it was saved."""
    opened = book("%load_ext aci_notebook", PROGRAM)
    opened.run_all()
    opened.cell(1).get_by_text("group deleted").wait_for()
    opened.save()
    return lab.read(opened.name)


@pytest.fixture
def tab(one_browser: Any) -> Iterator[Any]:
    """A page without Lab, without network."""
    page = one_browser.new_page(viewport={"width": 900, "height": 900})
    page.route("http*://**/*", lambda route: route.abort())
    yield page
    page.close()


def test_nbconvert_makes_a_page_that_reads_as_the_notebook(saved: dict[str, Any], tab: Any) -> None:
    for theme in ("light", "dark"):
        html, _ = HTMLExporter(theme=theme).from_notebook_node(nbformat.reads(json.dumps(saved), as_version=4))
        tab.set_content(html, wait_until="domcontentloaded")
        header = tab.locator(".aci-run").first.inner_text()
        assert re.search(r"✓ done\s+aci-\w+", header)
        assert "group deleted" in header
        assert "exit code 0" in header
        assert tab.locator("button:visible, [data-commandlinker-command]").count() == 0
        assert tab.locator(STATUS).inner_text().startswith("✓ done")
        assert BAD in tab.locator("body").inner_text()
        assert tab.evaluate("window.ran") is None
        assert tab.locator(".jp-OutputArea :is(img, a[href^=javascript])").count() == 0
        assert tab.evaluate(rooms.UNREADABLE, ".aci-run, .aci-run *") == [], theme


def test_somebody_elses_notebook_can_be_read_in_both_themes(lab: Lab, book: Open, saved: dict[str, Any]) -> None:
    (header,) = [out for out in saved["cells"][1]["outputs"] if out["output_type"] == "display_data" and "aci" in out["metadata"]]
    assert "<button" not in "".join(header["data"]["text/html"])
    header["metadata"]["from"] = "somebody else"  # the signature of what was run here does not fit any more
    for dark in (False, True):
        again = book(name=lab.write(saved), dark=dark)
        text = again.cell(1).inner_text()
        assert "✓ done" in text
        assert "group deleted" in text
        assert BAD in text
        assert again.page.locator(".jp-OutputArea-output .aci-run style").count() == 0, "it was trusted"
        assert again.page.evaluate(rooms.UNREADABLE, ".aci-run, .aci-run *") == []


def test_the_history_with_hostile_runs_is_a_table_of_text(book: Open) -> None:
    opened = book("%load_ext aci_notebook", PROGRAM, RAN, "runs", "runs.aci.timeline()", "runs.aci.cost()")
    opened.run_all()
    opened.cell(5).locator(".jp-OutputArea-output").first.wait_for()
    table = opened.cell(2).locator(".aci-table")
    heads = table.get_by_role("columnheader").all_inner_texts()
    assert heads == ["state", "name", "created (UTC)", "waited", "ran", "image", "size", "cost", "log"]
    rows = table.locator("tbody tr")
    odd = rows.filter(has_text="odd.log")
    cells = odd.locator("td").all_inner_texts()
    assert cells[0] == "✓ succeeded"
    assert cells[1] == cells[5] == BAD
    odd.locator("summary").click()
    odd.get_by_text("link", exact=False).last.wait_for()
    assert BAD in odd.locator(".aci-log-end").inner_text()
    assert opened.page.locator(".jp-OutputArea :is(script, a[href^=javascript], td img, .aci-table img)").count() == 0
    assert opened.page.evaluate("window.ran") is None
    assert opened.page.evaluate("getComputedStyle(document.querySelector('.jp-Cell')).display") != "none"
    assert opened.page.evaluate(rooms.UNREADABLE, ".aci-table *") == []
    frame = opened.cell(3)
    frame.scroll_into_view_if_needed()  # Lab draws what can be seen
    frame.get_by_text("<img src=x", exact=False).first.wait_for()


def test_a_long_image_does_not_push_the_log_out_of_the_page(tab: Any, tmp_path: Path) -> None:
    store = HistoryStore(tmp_path)
    image = "registry.example.azurecr.io/" + "a-team/" * 20 + "trainer:2026.11"
    store.save(RunRecord("long", "aci-long", "local", datetime.now(UTC), RunSpec(image, code="1"), kernel="k", log_path=""))
    log = store.log_path("long")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("the end of the log\n")
    tab.set_content(f"<body>{store.frame().aci.table()._repr_html_()}</body>")
    store.close()
    box = tab.locator("summary").bounding_box()
    assert box["x"] + box["width"] <= 900
    assert tab.locator("td").nth(5).inner_text() == image


def test_progress_is_a_bar_with_its_text(book: Open) -> None:
    steps = "for n in range(40):\n    print(f'\\r{n * 2}% of the rows', end='', flush=True)\n    time.sleep(0.1)"
    opened = book("%load_ext aci_notebook", f"%%aci\nimport time\n{steps}\nprint()")
    opened.run_all()
    bar = opened.cell(1).get_by_role("progressbar")
    bar.first.wait_for()
    value = "Number(document.querySelector('progress.aci-bar').value)"
    first = opened.page.evaluate(value)
    opened.page.wait_for_function(f"first => {value} > first", arg=first)
    assert "of the rows" in opened.cell(1).locator(".aci-progress").inner_text()
    opened.cell(1).get_by_text("group deleted").wait_for()
    assert bar.count() == 0
