"""One JupyterLab and one Chromium for all browser tests; a page for each."""

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
def chromium(one_browser: Any) -> Any:
    return one_browser.new_context()  # one context for all pages: what Lab loads stays in its cache


@pytest.fixture
def book(lab: rooms.Lab, root: Path, chromium: Any) -> Iterator[Callable[..., rooms.Book]]:
    """Opens a notebook of these cells (or a file of that name) in a page of its own; nothing may have run or popped up there."""
    books: list[rooms.Book] = []

    def open_book(*cells: str, name: str = "", dark: bool = False, width: int = 1200) -> rooms.Book:
        rooms.settings(root, dark=dark)
        page = chromium.new_page()
        page.set_viewport_size({"width": width, "height": 1000})
        page.set_default_timeout(30_000)
        books.append(rooms.Book(lab, page, name or lab.write(rooms.notebook(*cells))))
        return books[-1].open()

    yield open_book
    for opened in books:
        assert opened.dialogs == []
        opened.page.close()
    lab.shut_kernels()
