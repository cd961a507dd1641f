"""Other people's clients, unmodified, in a world in which Microsoft's host names are this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import world as worlds


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[worlds.World]:
    if reason := worlds.missing():
        pytest.skip(reason)
    made = worlds.make(tmp_path_factory.mktemp("world"))
    yield made
    made.end()
