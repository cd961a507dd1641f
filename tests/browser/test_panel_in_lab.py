"""The list of runs in JupyterLab: what other kernels do is seen as it happens, and each button does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from lab import Book, Lab
from test_launcher_in_lab import cell_says, newest_says, opened_form, press, program

pytestmark = pytest.mark.browser

Open = Callable[..., Book]
TICKS = r"""
import time
print("\x1b[36mup\x1b[0m", flush=True)
for n in range(900):
    print("tick", n, flush=True)
    time.sleep(0.1)
"""
OTHER_KERNEL = f"""
import sys, time
import aci_notebook as aci
run = aci.submit({TICKS!r})
while b"tick 0" not in run.log_bytes(): time.sleep(0.02)
print(run.name, flush=True)
sys.stdin.readline()
"""
Kernel = subprocess.Popen[str]
SAYS = """([name, text]) => [...document.querySelectorAll('.aci-runs option')]
  .map(option => option.textContent.replaceAll('\u00a0', ' ')).some(line => line.includes(name) && line.includes(text))"""


@pytest.fixture
def other(lab: Lab) -> Iterator[Callable[[], tuple[Kernel, str]]]:
    """Starts another kernel with a run of its own; the process, and the run's name."""
    begun: list[Kernel] = []

    def begin() -> tuple[Kernel, str]:
        env = {**os.environ, "ACI_NOTEBOOK_HOME": str(lab.home), "ACI_NOTEBOOK_LOCATION": "westeurope"}
        kernel = subprocess.Popen([sys.executable, "-c", OTHER_KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        begun.append(kernel)
        assert kernel.stdout is not None
        return kernel, kernel.stdout.readline().strip()

    yield begin
    for kernel in begun:
        kernel.kill()
        kernel.communicate()


def chosen(opened: Book, name: str) -> None:
    """Chooses the run of that name in the list."""
    opened.page.wait_for_function(SAYS, arg=[name, ""])
    runs = opened.page.locator(".aci-runs select")
    label = next(text for text in runs.locator("option").all_inner_texts() if name in text)
    runs.select_option(label=label)


def says(opened: Book, name: str, text: str) -> None:
    """Waits until the line of that run has this text."""
    opened.page.wait_for_function(SAYS, arg=[name, text])


def act(opened: Book, button: str) -> None:
    """Presses a button of the list, once it can be pressed."""
    opened.page.locator(".aci-panel").get_by_role("button", name=button, exact=True).click()


def able(opened: Book) -> set[str]:
    """What can be done with the chosen run."""
    return set(opened.page.locator(".aci-panel button:not([disabled])").all_inner_texts()) - {"↑ newer", "↓ older"}


def test_a_run_of_another_kernel_is_seen_followed_and_cancelled(lab: Lab, book: Open, other: Callable[[], tuple[Kernel, str]]) -> None:
    opened = opened_form(book)
    kernel, name = other()
    says(opened, name, "running")
    says(opened, name, "another kernel")
    chosen(opened, name)
    act(opened, "Attach")
    opened.page.locator(".aci-message").get_by_text("belongs to another kernel").wait_for()
    log = opened.page.locator(".aci-log")
    log.get_by_text("tick 0", exact=False).first.wait_for()
    assert kernel.poll() is None
    seen = len(log.inner_text())
    opened.page.wait_for_function("seen => document.querySelector('.aci-log').innerText.length > seen + 20", arg=seen)
    colour = "getComputedStyle([...document.querySelectorAll('.aci-log span')].find(e => e.textContent === 'up')).color"
    assert opened.page.evaluate(colour) != opened.page.evaluate("getComputedStyle(document.querySelector('.aci-log pre')).color")
    act(opened, "Cancel")
    opened.page.locator(".aci-message").get_by_text(f"container group {name} is gone").wait_for()
    says(opened, name, "■ cancelled")
    assert lab.groups_left() == 0


def test_a_run_whose_kernel_is_gone_is_adopted(lab: Lab, book: Open, other: Callable[[], tuple[Kernel, str]]) -> None:
    opened = opened_form(book)
    kernel, name = other()
    chosen(opened, name)
    kernel.kill()
    kernel.wait()
    act(opened, "Attach")
    opened.page.locator(".aci-header").get_by_text(name).first.wait_for()
    opened.page.locator(".aci-log").get_by_text("tick 0", exact=False).first.wait_for()
    says(opened, name, "this kernel")
    press(opened, "Cancel")
    opened.page.locator(".aci-header").get_by_text("group deleted").wait_for()
    assert lab.groups_left() == 0


def test_a_kept_group_is_run_again_and_deleted(lab: Lab, book: Open) -> None:
    opened = opened_form(book)
    page = opened.page
    program(opened, "print('kept')")
    page.get_by_text("Life", exact=True).click()
    page.get_by_label("keep", exact=True).select_option("always")
    cell_says(opened, "--keep always")
    before = lab.groups_left()
    press(opened, "Run")
    page.locator(".aci-header").get_by_text("group kept").wait_for()
    newest_says(opened, "group kept")
    first = page.locator(".aci-header .aci-name").inner_text()
    assert lab.groups_left() == before + 1
    page.get_by_label("keep", exact=True).select_option("never")
    program(opened, "print('something else')")
    chosen(opened, first)
    assert able(opened) == {"Log", "Rerun", "Delete"}
    act(opened, "Rerun")
    page.wait_for_function("first => !document.querySelector('.aci-header').innerText.includes(first)", arg=first)
    page.locator(".aci-header").get_by_text("group kept").wait_for()
    second = page.locator(".aci-header .aci-name").inner_text()
    assert page.locator(".aci-log").inner_text().strip() == "kept"
    assert lab.groups_left() == before + 2
    for name in (first, second):
        chosen(opened, name)
        act(opened, "Delete")
        page.locator(".aci-message").get_by_text(f"container group {name} is gone").wait_for()
        page.wait_for_function("() => document.querySelector('.aci-panel button[title^=delete]').disabled")
    assert lab.groups_left() == before


def test_hostile_names_in_the_list_are_text(lab: Lab, book: Open) -> None:
    bad = "<img src=x onerror='window.ran=1'></select></style>\\x1b[2J\\u202e"
    saved = (
        "from dataclasses import replace\nfrom datetime import UTC, datetime\nfrom aci_notebook.record import RunRecord\n"
        "from aci_notebook.spec import RunSpec\nfrom aci_notebook.session import house\n"
        f"bad = '''{bad}'''\n"
        "house().store.save(RunRecord('hostile', bad, 'local', datetime.now(UTC), RunSpec(bad, code=bad), notebook=bad, kernel='x',\n"
        "                             location=bad, group='gone', log_path=bad))\n"
    )
    opened = opened_form(book, "import aci_notebook as aci\nfactor = 2\n" + saved + "form = aci.launcher()\nform")
    newest_says(opened, "<img src=x")
    newest = opened.page.locator(".aci-runs option").first.inner_text()
    assert not {"\x1b", "\u202e", "\n"} & set(newest)
    opened.page.locator(".aci-runs select").select_option(index=0)
    for button in ("Log", "Rerun"):
        act(opened, button)
    opened.page.locator(".aci-message, .aci-problem").get_by_text("<img src=x", exact=False).first.wait_for()
    assert opened.page.locator(".aci-launcher :is(img, script)").count() == 0
    assert opened.page.evaluate("window.ran") is None
