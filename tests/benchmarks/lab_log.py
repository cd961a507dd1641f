"""200,000 lines on the screen, in figures: `python tests/benchmarks/lab_log.py`. JupyterLab in Chromium, the local ACI.

The same program in a `%%aci` cell and in the launcher's log view, and its output printed by a plain cell, each in a notebook of its own:
seconds from the click to the last line on the screen, the longest time without a frame, the time in frames over 200 ms.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
import lab as rooms

PROGRAM = "for n in range(200_000):\n    print('line', n)\nprint('the', 'end', flush=True)"
LOAD = "%load_ext aci_notebook"
WARM = LOAD + "\nimport aci_notebook as aci\naci.submit('pass').wait()"  # the local ACI and its images are there
FORM = "aci.launcher()"
FRAMES = """() => { window.gaps = []; let last = performance.now();
    const tick = now => { window.gaps.push(now - last); last = now; requestAnimationFrame(tick); }; requestAnimationFrame(tick); }"""


def measured(page: Any, begin: Callable[[], None], end: Any) -> str:
    """The figures of one way to show the program's output."""
    page.evaluate(FRAMES)
    began = time.monotonic()
    begin()
    end.wait_for(timeout=120_000)
    took = time.monotonic() - began
    gaps = page.evaluate("window.gaps")
    slow = sum(gap for gap in gaps if gap > 200) / 1000
    return f"{took:6.1f} s   longest without a frame {max(gaps):6.0f} ms   in frames over 200 ms {slow:5.1f} s"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder)
        rooms.settings(root)
        lab = rooms.start(root)
        browser = playwright.chromium.launch(executable_path=str(rooms.CHROMIUM), args=rooms.BROWSER)
        try:
            page = browser.new_page()
            for name, cell in (("a plain cell", PROGRAM), ("%%aci", f"%%aci\n{PROGRAM}"), ("the form's log", FORM)):
                book = rooms.Book(lab, page, lab.write(rooms.notebook(WARM, cell))).open()
                book.run(0)
                page.wait_for_function("() => document.querySelector('.jp-InputPrompt')?.textContent.includes('[1]')", timeout=120_000)
                if cell == FORM:
                    book.run(1)
                    page.locator(".aci-code textarea").first.fill(PROGRAM)
                    begin, where = (
                        page.locator(".aci-launcher").get_by_role("button", name="Run", exact=True).first.click,
                        page.locator(".aci-log"),
                    )
                else:
                    begin, where = partial(book.run, 1), book.cell(1).locator(".jp-OutputArea-output")
                print(f"{name:<16}{measured(page, begin, where.get_by_text('the end').last)}", flush=True)
                lab.shut_kernels()
        finally:
            browser.close()
            rooms.stop(lab)


if __name__ == "__main__":
    main()
