"""The launcher in JupyterLab: filled in, run, cancelled; read by eye and by screen reader; a large log; hostile text; two themes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lab as rooms
import pytest
from lab import Book, Lab

pytestmark = pytest.mark.browser

Open = Callable[..., Book]
FORM = "import aci_notebook as aci\nfactor = 21\nform = aci.launcher()\nform"
# The count of lines of every block that comes into the log view.
DRAWN = """() => { window.drawn = [];
    const note = node => { for (const pre of node.matches?.('pre') ? [node] : node.querySelectorAll?.('pre') ?? [])
        window.drawn.push(pre.textContent.split('\\n').length); };
    new MutationObserver(seen => seen.forEach(change => change.addedNodes.forEach(note)))
        .observe(document.querySelector('.aci-log'), {childList: true, subtree: true}); }"""


def names_of_controls(page: Any) -> list[tuple[str, str]]:
    """Role and name of each control, as Chromium tells a screen reader."""
    asked = ("textbox", "combobox", "spinbutton", "checkbox", "listbox", "button")
    told = page.context.new_cdp_session(page)
    root = told.send("DOM.getDocument")["root"]["nodeId"]
    form = told.send("DOM.querySelector", {"nodeId": root, "selector": ".aci-launcher"})["nodeId"]
    trees = [told.send("Accessibility.queryAXTree", {"nodeId": form, "role": role})["nodes"] for role in asked]
    told.detach()
    return [(role, node["name"]["value"]) for role, tree in zip(asked, trees, strict=True) for node in tree if not node["ignored"]]


def opened_form(book: Open, source: str = FORM, **how: Any) -> Book:
    opened = book(source, **how)
    opened.run(0)
    opened.page.locator(".aci-launcher .aci-code textarea").first.wait_for()
    return opened


def program(opened: Book, text: str) -> None:
    opened.page.locator(".aci-launcher .aci-code textarea").first.fill(text)


def cell_says(opened: Book, text: str) -> None:
    """Waits for the equivalent cell to have this text."""
    opened.page.wait_for_function("text => document.querySelectorAll('.aci-code textarea')[1].value.includes(text)", arg=text)


def newest_says(opened: Book, text: str) -> None:
    """Waits for the newest run of the list to have this text."""
    newest = "document.querySelector('.aci-runs option')?.textContent.replaceAll('\u00a0', ' ')"
    opened.page.wait_for_function(f"text => {newest}.includes(text)", arg=text)


def press(opened: Book, name: str) -> None:
    opened.page.locator(".aci-launcher").get_by_role("button", name=name, exact=True).first.click()


def test_filled_in_run_and_read(lab: Lab, book: Open) -> None:
    opened = opened_form(book)
    page = opened.page
    program(opened, "print('hello from the form')\nanswer = factor * 2\nanswer")
    page.get_by_label("input", exact=True).fill("factor")
    page.get_by_label("output", exact=True).fill("answer")
    page.get_by_label("cpu", exact=True).fill("2")
    cell_says(opened, "%%aci --cpu 2 --input factor --output answer")
    press(opened, "Run")
    page.locator(".aci-log").get_by_text("hello from the form").wait_for()
    page.locator(".aci-header").get_by_text("group deleted").wait_for()
    page.locator(".aci-message").get_by_text("set in this notebook: answer").wait_for()
    assert "done" in page.locator(".aci-spoken [role=status]").inner_text()
    newest_says(opened, "✓")
    assert lab.groups_left() == 0


def test_cancel_ends_the_run_and_its_group(lab: Lab, book: Open) -> None:
    opened = opened_form(book)
    program(opened, "import time\nprint('up', flush=True)\ntime.sleep(100)")
    press(opened, "Run")
    opened.page.locator(".aci-log").get_by_text("up", exact=True).wait_for()
    press(opened, "Cancel")
    opened.page.locator(".aci-header").get_by_text("group deleted").wait_for()
    assert "cancelled" in opened.page.locator(".aci-shown .aci-spoken").inner_text()
    assert lab.groups_left() == 0


def test_a_wrong_value_is_said_at_its_field(book: Open) -> None:
    opened = opened_form(book)
    field = opened.page.locator(".aci-field").filter(has=opened.page.get_by_label("image", exact=True))
    opened.page.get_by_label("image", exact=True).fill("Python:3.12")
    field.get_by_text("write --image python:3.12").wait_for()
    assert "image paths are lower case" in field.inner_text()


def test_every_control_has_a_name_and_the_keyboard_reaches_it(book: Open) -> None:
    opened = opened_form(book)
    page = opened.page
    for word in ("env", "secret"):
        page.locator(f"button[title^='one more {word}']").click()
    page.locator(".aci-row").nth(1).wait_for()
    named = names_of_controls(page)
    assert [control for control in named if not control[1].strip()] == []
    for control in (("textbox", "program"), ("listbox", "runs, newest first"), ("textbox", "value of the env"), ("combobox", "image")):
        assert control in named, named
    page.get_by_label("image", exact=True).focus()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("(e => e.labels?.[0]?.textContent || e.textContent || e.placeholder)(document.activeElement)"))
        ringed = "(s => s.outlineStyle !== 'none' || s.boxShadow !== 'none')(getComputedStyle(document.activeElement))"
        assert page.evaluate(ringed), f"nobody sees that {seen[-1]} has the focus"
        if seen[-1] == "Dry run":
            break
    assert [word for word in seen if word in ("cpu", "memory", "+ add", "pip", "input", "output", "Run", "Dry run")] == [
        "cpu", "memory", "+ add", "+ add", "pip", "+ add", "input", "output", "Run", "Dry run",
    ], seen  # fmt: skip


def test_folded_sections_and_the_list_of_runs_need_no_mouse(book: Open) -> None:
    opened = book("import aci_notebook as aci\nfor n in '12': aci.submit(n).wait()\naci.launcher()", "import time; time.sleep(60)")
    opened.run(0)
    page = opened.page
    newest_says(opened, "✓")
    chosen = "document.querySelector('.aci-runs select').selectedIndex"
    page.wait_for_function(f"{chosen} === 0")
    page.get_by_role("button", name="↓ older").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{chosen} === 1")
    opened.run(1)
    page.locator(".aci-waiting").get_by_text("a cell is running").wait_for()
    assert page.get_by_label("timeout", exact=True).is_hidden()
    page.get_by_role("button", name="Life").focus()
    page.keyboard.press("Space")
    page.get_by_label("timeout", exact=True).wait_for()


def test_a_double_click_starts_one_run(lab: Lab, book: Open) -> None:
    opened = opened_form(book)
    program(opened, "print('once')")
    cell_says(opened, "once")
    before = lab.requests("create")
    opened.page.get_by_role("button", name="Run detached", exact=True).dblclick()
    said = opened.page.locator(".aci-message").get_by_text("runs in the background")
    newest_says(opened, said.inner_text().partition(" ")[0])
    newest_says(opened, "✓")
    assert lab.requests("create") - before == 1


def test_a_form_whose_kernel_is_gone_says_so_in_one_sentence(book: Open) -> None:
    opened = opened_form(book)
    page = opened.page
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.locator(".aci-launcher.jupyter-widgets-disconnected").wait_for()
    told = "[...document.querySelectorAll('.aci-launcher, .aci-launcher *')].map(e => getComputedStyle(e, '::before').content)"
    said = [text for text in page.evaluate(told) if text not in ("none", "normal")]
    said = [text for text in said if text != '""' and "▸" not in text]
    assert len(said) == 1
    assert "lost its kernel. Run the cell again" in said[0]
    takes_clicks = "getComputedStyle(document.querySelector('.aci-launcher .widget-button')).pointerEvents"
    assert page.evaluate(takes_clicks) == "none"


def test_the_form_says_that_it_must_wait_and_then_does_it_once(lab: Lab, book: Open) -> None:
    opened = book(FORM, "import time; time.sleep(4); print('free again')")
    opened.run(0)
    opened.page.locator(".aci-launcher .aci-code textarea").first.wait_for()
    program(opened, "print('after the wait')")
    cell_says(opened, "after the wait")
    opened.run(1)
    opened.page.locator(".aci-waiting").get_by_text("a cell is running").wait_for()
    before = lab.requests("create")
    press(opened, "Run detached")
    press(opened, "Run detached")
    opened.page.get_by_text("free again").last.wait_for()
    opened.page.locator(".aci-message").get_by_text("runs in the background").wait_for()
    opened.page.locator(".aci-waiting").get_by_text("a cell is running").wait_for(state="detached")
    newest_says(opened, "✓")
    assert lab.requests("create") - before == 1


def test_a_run_is_followed_while_another_cell_runs(lab: Lab, book: Open) -> None:
    opened = book(FORM, "import time; time.sleep(12); print('free again')")
    opened.run(0)
    opened.page.locator(".aci-launcher .aci-code textarea").first.wait_for()
    program(opened, "import time\nfor n in range(20):\n    print('step', n, flush=True)\n    time.sleep(0.1)")
    press(opened, "Run")
    opened.page.locator(".aci-log").get_by_text("step 0").wait_for()
    opened.run(1)
    opened.page.locator(".aci-header").get_by_text("group deleted").wait_for()
    assert "free again" not in opened.cell(1).locator(".jp-OutputArea").inner_text(), "the log came only after the cell"
    assert "step 19" in opened.page.locator(".aci-log").inner_text()


def test_of_200_000_lines_the_browser_holds_the_last_and_draws_it_in_blocks(book: Open) -> None:
    opened = opened_form(book)
    page = opened.page
    program(opened, "for n in range(200_000):\n    print('line', n)\nprint('\\x1b[32mthe end\\x1b[0m', flush=True)")
    page.evaluate(DRAWN)
    press(opened, "Run")
    page.locator(".aci-log").get_by_text("the end").wait_for(timeout=60_000)
    lines = page.evaluate("document.querySelector('.aci-log').textContent.split('\\n').length")
    bottom = page.evaluate("(e => Math.abs(e.scrollTop))(document.querySelector('.aci-log'))")
    page.evaluate("document.querySelector('.aci-log').scrollTop = -2000")
    away = page.evaluate("document.querySelector('.aci-log').scrollTop")
    assert 4_000 < lines <= 5_100
    assert bottom < 2, "the view did not stay at its end"
    assert away < -1000, "the view cannot be scrolled back"
    drawn = page.evaluate("window.drawn")
    assert drawn
    assert max(drawn) <= 251, "what a frame may cost"
    note = page.locator(".aci-log-note")
    note.get_by_text("the last 5,000 of 200,001 lines").wait_for()
    kept = Path(note.inner_text().rpartition(" in ")[2].strip()).read_bytes().splitlines()
    assert len(kept) == 200_001, "the file has not all lines"
    assert kept[:2] == [b"line 0", b"line 1"]
    green = page.locator(".aci-log span").get_by_text("the end").evaluate("e => getComputedStyle(e).color")
    assert green != page.locator(".aci-log pre").last.evaluate("e => getComputedStyle(e).color")


def test_hostile_text_in_names_environment_and_output_is_text(lab: Lab, book: Open) -> None:
    bad = "<img src=x onerror='window.ran=1'><script>window.ran=1</script></style>"
    opened = opened_form(book, f"{FORM.splitlines()[0]}\nBAD = {bad!r}\nform = aci.launcher()\nform")
    page = opened.page
    program(opened, f"print({bad!r})\nprint('\\x1b]8;;javascript:window.ran=1\\x07link\\x1b]8;;\\x07')\nraise ValueError({bad!r})")
    page.locator("button[title^='one more env']").click()
    page.locator(".aci-row input").nth(0).fill("A")
    page.locator(".aci-row input").nth(1).fill(bad)
    page.get_by_text("Where", exact=True).click()
    page.get_by_label("name", exact=True).fill(bad)
    page.locator(".aci-problem").get_by_text("must have 1 to 63 lower-case letters").wait_for()
    page.get_by_label("name", exact=True).fill("")
    press(opened, "Run")
    page.locator(".aci-header").get_by_text("group deleted").wait_for()
    assert bad in page.locator(".aci-log").inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator(".aci-launcher :is(img, script, a[href^=javascript])").count() == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_form_can_be_read_in_both_themes(book: Open, dark: bool) -> None:
    opened = opened_form(book, dark=dark)
    page = opened.page
    page.get_by_label("cpu", exact=True).fill("99")
    page.locator(".aci-problem").get_by_text("between 1 and 31").wait_for()
    assert page.evaluate(rooms.UNREADABLE, ".aci-launcher *") == []
    page.get_by_label("cpu", exact=True).fill("1")
    program(opened, "print('\\x1b[31mred\\x1b[0m \\x1b[33myellow\\x1b[0m')\nfactor")
    page.locator(".aci-facts-line").get_by_text("add -i factor").wait_for()
    page.get_by_label("input", exact=True).fill("factor")
    page.locator(".aci-facts-line").get_by_text("add -i factor").wait_for(state="detached")
    press(opened, "Run")
    page.locator(".aci-header").get_by_text("group deleted").wait_for()
    assert page.evaluate(rooms.UNREADABLE, ".aci-launcher *") == []


def test_the_last_cell_comes_into_a_new_cell(book: Open) -> None:
    opened = book(FORM, "%aci launch --last")
    opened.run(0)
    opened.page.locator(".aci-launcher .aci-code textarea").first.wait_for()
    program(opened, "print('kept')")
    cell_says(opened, "kept")
    opened.run(1)
    opened.cell(2).get_by_text("print").wait_for()
    assert "%%aci" in opened.cell(2).inner_text()


def test_a_run_of_the_form_is_attached_after_a_reload(lab: Lab, book: Open) -> None:
    opened = book(FORM, "%aci attach last")
    opened.run(0)
    opened.page.locator(".aci-launcher .aci-code textarea").first.wait_for()
    program(opened, "import time\nprint('before', flush=True)\nfor n in range(600):\n    print('tick', n, flush=True)\n    time.sleep(0.1)")
    press(opened, "Run")
    opened.page.locator(".aci-log").get_by_text("tick 0", exact=False).first.wait_for()
    opened.save()
    opened.page.reload()
    opened.ready()
    opened.run(1)
    attached = opened.cell(1)
    attached.get_by_text("before").wait_for()
    attached.get_by_role("button", name="Stop").click()
    attached.get_by_text("group deleted").wait_for()
    assert lab.groups_left() == 0


def test_a_narrow_form_is_one_column_and_not_cut(book: Open) -> None:
    opened = opened_form(book, width=900)
    page = opened.page
    box = "document.querySelector('{}').getBoundingClientRect()"
    beside = f"{box.format('.aci-right')}.top < {box.format('.aci-fields')}.bottom"
    page.set_viewport_size({"width": 1500, "height": 1000})
    page.wait_for_function(beside)
    page.set_viewport_size({"width": 760, "height": 1000})
    page.wait_for_function(f"!({beside})")
    page.get_by_label("image", exact=True).fill("Python:UPPER/Case")
    page.locator(".aci-problem").get_by_text("is not an image reference").wait_for()
    for word in ("env", "secret"):
        page.locator(f"button[title^='one more {word}']").click()
    page.locator(".aci-row").nth(1).wait_for()
    parts = "document.querySelectorAll('.aci-launcher, .aci-launcher .aci-form, .aci-field')"
    wide = f"[...{parts}].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(wide) == 0
    page.set_viewport_size({"width": 600, "height": 1000})
    page.wait_for_function("document.querySelector('.aci-launcher').clientWidth < 260")
    assert page.evaluate(wide) == 0
    scrolled = "[...document.querySelectorAll('.aci-presets')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(scrolled) == 0
