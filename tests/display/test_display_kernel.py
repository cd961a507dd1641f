"""In a real kernel: what a saved notebook keeps of a run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from test_display_html import Parsed

HERE = Path(__file__).parent

PLAY = f"""
import sys, time
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parents[1])!r}]
import display_samples as s
from aci_notebook import events as ev
from aci_notebook.display.live import CellView, DetachedView
run = s.created(s.new())
view = CellView(run, lines_max=100)
view.open(run)
def happen(event):
    global run
    run = s.after(run, event)
    view.consume(run, event)
happen(ev.PhaseEntered(s.at(2), "running", s.at(2)))
for n in range(40):
    happen(ev.TextReceived(s.at(3), b"line %d\\n" % n))
    time.sleep(0.01)
happen(ev.Ended(s.at(9), ev.Outcome("succeeded", 0)))
view.close(run)
view.show_value({{"text/plain": "42", "text/html": "<b>42</b>"}})
"""
BACKGROUND = """
import threading
other = s.running(s.new("other"))
quiet = DetachedView(other)
quiet.open(other)
def work():
    global other
    for n in range(30):
        event = ev.TextReceived(s.at(30), b"step %d\\n" % n)
        other = s.after(other, event)
        quiet.update(other, event)
    event = ev.Ended(s.at(40), ev.Outcome("failed", 3))
    other = s.after(other, event)
    quiet.update(other, event)
    quiet.close(other)
    view.settle(s.after(run, ev.DeleteVerified(s.at(12))))
thread = threading.Thread(target=work)
"""


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    sources = [PLAY, BACKGROUND, "thread.start(); thread.join(); print('this cell is mine')"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(book, timeout=60, kernel_name="python3", coalesce_streams=False)
    client.execute()
    return book


def test_the_cell_keeps_one_header_in_its_last_state_and_its_output(notebook: nbformat.NotebookNode) -> None:
    header, *streams, value = notebook.cells[0].outputs
    assert header.output_type == "display_data"
    assert header.metadata == {"aci": {"run": "k7f3a2"}}
    assert "✓ done" in header.data["text/plain"]
    assert "group deleted" in header.data["text/plain"]
    assert "button" not in Parsed(header.data["text/html"].partition("</style>")[2]).tags
    assert {item.output_type for item in streams} == {"stream"}
    assert "".join(item.text for item in streams) == "".join(f"line {n}\n" for n in range(40))
    assert len(streams) <= 8
    assert value.data["text/html"] == "<b>42</b>"


def test_a_background_run_stays_in_its_own_cell(notebook: nbformat.NotebookNode) -> None:
    (shown,) = notebook.cells[1].outputs
    assert "✗ failed  other" in shown.data["text/plain"]
    assert shown.data["text/plain"].endswith("| step 29")
    (mine,) = notebook.cells[2].outputs
    assert mine.text == "this cell is mine\n"
