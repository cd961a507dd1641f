"""A shell with the extension loaded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

import aci_notebook


@pytest.fixture
def ip() -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance()
    aci_notebook.load_ipython_extension(shell)
    yield shell
    aci_notebook.unload_ipython_extension(shell)
    InteractiveShell.clear_instance()
