"""One JupyterLab, one Chromium, one page for all browser tests; a notebook and a kernel for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lab as rooms
import pytest


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def lab(root: Path) -> Iterator[rooms.Lab]:
    pytest.importorskip("jupyterlab", reason="package jupyterlab is missing")
    if not rooms.CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt-get install chromium fonts-dejavu-core")
    rooms.settings(root)
    started = rooms.start(root)
    yield started
    rooms.stop(started)


@pytest.fixture(scope="session")
def page(one_browser: Any, lab: rooms.Lab) -> Any:
    """Lab is loaded once; each test opens its notebook in it, with a kernel of its own."""
    page = one_browser.new_page()
    page.set_default_timeout(30_000)
    return page


@pytest.fixture
def book(lab: rooms.Lab, page: Any) -> Iterator[Callable[..., rooms.Book]]:
    """Opens a notebook of these cells (or a file of that name); no script of its outputs may run, nothing may pop up."""
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        if dialog.type == "beforeunload":
            dialog.accept()
        else:
            asked.append(dialog.message)
            dialog.dismiss()

    def open_book(*cells: str, name: str = "", dark: bool = False, width: int = 1200) -> rooms.Book:
        page.set_viewport_size({"width": width, "height": 1000})
        return rooms.Book(lab, page, name or lab.write(rooms.notebook(*cells))).open(dark=dark)

    lab.begin_test()
    reloaded: list[str] = []

    def note(loaded: Any) -> None:
        reloaded.append(loaded.url)

    fresh = page.url == "about:blank"
    page.on("dialog", answer)
    page.on("load", note)
    yield open_book
    if fresh and reloaded:
        reloaded.pop(0)  # the first load of all is no reload
    assert asked == []
    assert page.evaluate("window.ran") is None
    if reloaded:  # Lab may still be about to open again what was open: it would come over the next test's notebook
        page.goto("about:blank")
    else:
        page.wait_for_function(rooms.CLOSED)
    page.remove_listener("dialog", answer)
    page.remove_listener("load", note)
    lab.shut_kernels()
