"""The pictures that open the README, and the same in the dark, to be looked at.

python tests/browser/picture.py notebooks/images [OUT-FOR-LOOKING]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import lab as rooms
from playwright.sync_api import sync_playwright

CELL = """%%aci --cpu 2 --memory 4 -i factor -o score
import time

for step in range(5):
    print(f"\\033[32mstep {step}\\033[0m  loss {1 / (step + 1):.3f}")
    time.sleep(0.6)

score = factor * 2
score"""
PROGRAM = CELL.split("\n", 1)[1]


def header(book: rooms.Book, out: Path) -> None:
    """A cell while it runs: header, output, stop button."""
    book.run(0)
    book.run(1)
    book.cell(1).get_by_text("step 3").wait_for()
    book.page.mouse.move(0, 0)
    book.cell(1).locator(".jp-Cell-inputWrapper").evaluate("e => e.scrollIntoView()")
    box = book.cell(1).bounding_box()
    book.page.screenshot(path=str(out), clip={"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]})
    book.cell(1).get_by_text("group deleted").wait_for()
    book.cell(1).screenshot(path=str(out.with_stem(out.stem + "-done")))


def form(book: rooms.Book, out: Path) -> None:
    """The form, filled in, with a run."""
    page = book.page
    book.run(0)
    book.run(2)
    page.locator(".aci-code textarea").first.fill(PROGRAM)
    page.get_by_label("cpu", exact=True).fill("2")
    page.get_by_label("memory", exact=True).fill("4")
    page.get_by_label("input", exact=True).fill("factor")
    page.get_by_label("output", exact=True).fill("score")
    page.locator("button[title^='one more secret']").click()
    page.locator(".aci-row input").first.fill("API_TOKEN")
    page.locator(".aci-launcher").get_by_role("button", name="Run", exact=True).click()
    page.locator(".aci-log").get_by_text("step 3").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.locator(".aci-launcher").screenshot(path=str(out))


def draw(pictures: Path, looking: Path) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        root = Path(tempfile.gettempdir(), "aci")  # its name is in the pictures
        root.mkdir()
        lab = rooms.start(root, "eastus")  # its price is in the table of this release
        try:
            browser = play.chromium.launch(executable_path=str(rooms.CHROMIUM), args=rooms.BROWSER)
            for dark in (True, False):
                rooms.settings(root)
                page = browser.new_page(viewport={"width": 1240, "height": 1200})
                setup = "%load_ext aci_notebook\nimport os, aci_notebook as aci\nfactor = 21\nos.environ['API_TOKEN'] = 'x' * 20"
                book = rooms.Book(lab, page, lab.write(rooms.notebook(setup, CELL, "form = aci.launcher()\nform"))).open(dark=dark)
                page.keyboard.press("Control+b")
                where = looking if dark else pictures
                header(book, where / "header.png")
                (where / "header-done.png").rename(looking / f"header-done-{'dark' if dark else 'light'}.png")
                form(book, where / "launcher.png")
                page.close()
            browser.close()
        finally:
            rooms.stop(lab)
            shutil.rmtree(root)


if __name__ == "__main__":
    looking = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    draw(Path(sys.argv[1]), looking)
    print(f"to be looked at: {looking}")
