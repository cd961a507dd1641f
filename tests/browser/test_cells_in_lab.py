"""`%%aci` cells in JupyterLab, as a person sees them: header, output, the stop button, saving, reopening, reloading."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import lab as rooms
import pytest
from lab import Book, Lab

pytestmark = pytest.mark.browser

FIRST = Path(__file__).parents[2] / "notebooks" / "01-first-run.ipynb"
Open = Callable[..., Book]
LONG = "%%aci --timeout 5m\nimport time\nprint('up', flush=True)\ntime.sleep(200)"
HOSTILE = r"""%%aci --env 'A=<script>window.ran=1</script>' --tag 'note=</style><b>x'
import os, sys
print("<script>window.ran=1</script></pre></style><img src=x onerror='window.ran=1'>")
print("javascript:window.ran=1 " + os.environ["A"])
print("\x1b]8;;javascript:window.ran=1\x07click\x1b]8;;\x07 \x1b[2J\x1b[1;1Hhome \x1b]0;title\x07 \x1b[1A\x1b[2Kover")
raise ValueError("<script>window.ran=1</script>\x1b[2J</style><img src=x onerror='window.ran=1'>")"""


def test_the_first_notebook_runs_from_the_menu(lab: Lab, book: Open) -> None:
    whole = json.loads(FIRST.read_text("utf-8"))
    code = ["".join(cell["source"]) for cell in whole["cells"] if cell["cell_type"] == "code"]
    opened = book(*code[:2])
    opened.run_all_from_the_menu()
    top = opened.cell(1)
    top.get_by_text("group deleted").wait_for(timeout=60_000)
    assert "done" in top.get_by_role("status").inner_text()
    assert re.search(r"step 0 in Python 3\.\d+", top.inner_text())
    assert "step 2 in Python" in top.inner_text()
    assert "LOCAL" in top.inner_text()
    assert "45" in top.inner_text()
    assert top.get_by_role("button", name="Stop").count() == 0


def test_the_stop_button_interrupts_while_the_cell_blocks_and_the_group_is_gone(lab: Lab, book: Open) -> None:
    opened = book("%load_ext aci_notebook", LONG, "print('the next cell')")
    opened.run_all()
    running = opened.cell(1)
    running.get_by_text("up", exact=True).wait_for()
    stop = running.get_by_role("button", name="Stop")
    assert stop.get_attribute("data-commandlinker-command") == "notebook:interrupt-kernel"
    stop.click()
    running.get_by_text("RunCancelled").first.wait_for(timeout=8_000)
    running.get_by_text("group deleted").wait_for()
    assert "cancelled" in running.get_by_role("status").inner_text()
    assert "the next cell" not in opened.cell(2).locator(".jp-OutputArea").inner_text()
    assert lab.groups_left() == 0


def test_the_stop_button_is_reached_with_the_keyboard(lab: Lab, book: Open) -> None:
    opened = book("%load_ext aci_notebook", LONG)
    opened.run_all()
    opened.cell(1).get_by_text("up", exact=True).wait_for()
    opened.cell(1).get_by_role("button", name="Stop").focus()
    opened.page.keyboard.press("Enter")
    opened.cell(1).get_by_text("group deleted").wait_for()
    assert lab.groups_left() == 0


def test_the_status_for_screen_readers_changes_with_the_state_alone(book: Open) -> None:
    opened = book("%load_ext aci_notebook", "%%aci\nimport time\nfor n in range(12):\n    print(n, flush=True)\n    time.sleep(0.15)")
    opened.page.evaluate(
        """() => { window.heard = []; window.clocks = new Set();
        new MutationObserver(() => document.querySelectorAll('[role=status].aci-status').forEach(e => {
            if (window.heard.at(-1) !== e.textContent) window.heard.push(e.textContent);
            document.querySelectorAll('.aci-steps').forEach(s => window.clocks.add(s.textContent));
        })).observe(document.body, {subtree: true, childList: true, characterData: true}) }"""
    )
    opened.run_all()
    opened.cell(1).get_by_text("group deleted").wait_for()
    heard = opened.page.evaluate("window.heard")
    words = [text.split()[1] for text in heard]
    assert len(heard) == len(set(heard)), "a state was said twice"
    assert "running" in words
    assert words[-1] == "done"
    assert opened.page.evaluate("window.clocks.size") > len(heard)
    assert not any(re.search(r"\d\d:\d\d| s\b", text.partition("aci-")[0]) for text in heard)


def test_hostile_output_is_text(book: Open) -> None:
    opened = book("%load_ext aci_notebook", HOSTILE)
    opened.page.evaluate("document.title = 'mine'")
    opened.run_all()
    cell = opened.cell(1)
    cell.get_by_text("group deleted").wait_for()
    text = cell.inner_text()
    assert "<script>window.ran=1</script></pre></style><img src=x onerror='window.ran=1'>" in text
    assert "click" in text
    assert "ValueError" in text
    assert opened.page.evaluate("window.ran") is None
    output = cell.locator(".jp-OutputArea")
    assert output.locator("script, img, a[href^=javascript]").count() == 0
    assert not {"\x1b", "\x07"} & set(text)
    assert opened.page.evaluate("getComputedStyle(document.querySelector('.jp-Cell .cm-content')).borderLeftWidth") == "0px"


def test_after_a_reload_attach_shows_the_run_again(lab: Lab, book: Open) -> None:
    program = "import time\nprint('before', flush=True)\nfor n in range(300):\n    print('tick', n, flush=True)\n    time.sleep(0.3)"
    opened = book("%load_ext aci_notebook", f"%%aci --detach --timeout 2m\n{program}", "%aci attach last")
    opened.run(0)
    opened.run(1)
    opened.cell(1).get_by_text("tick").first.wait_for()
    opened.save()
    opened.page.reload()
    opened.ready()
    opened.run(2)
    opened.cell(2).get_by_text("before").wait_for()
    opened.cell(2).get_by_role("button", name="Stop").click()
    opened.cell(2).get_by_text("group deleted").wait_for()
    assert lab.groups_left() == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_headers_can_be_read_in_both_themes(book: Open, dark: bool) -> None:
    colours = r"print('\x1b[30mblack\x1b[0m \x1b[33myellow\x1b[0m \x1b[37mwhite\x1b[0m')"
    opened = book("%load_ext aci_notebook", f"%%aci --memory 4 --detach\n{colours}\nraise SystemExit(3)", dark=dark)
    opened.run_all()
    opened.cell(1).get_by_text("group deleted").wait_for()
    assert (opened.page.get_attribute("body", "data-jp-theme-light") == "false") is dark
    assert "failed" in opened.cell(1).get_by_role("status").inner_text()
    assert opened.page.evaluate(rooms.UNREADABLE, ".aci-run, .aci-run *") == []


def test_a_narrow_page_is_not_widened(book: Open) -> None:
    opened = book("%load_ext aci_notebook", "%%aci\nprint('narrow')", width=620)
    opened.run_all()
    opened.cell(1).get_by_text("group deleted").wait_for()
    assert opened.page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.aci-run').parentElement)") <= 0
