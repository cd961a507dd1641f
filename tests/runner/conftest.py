"""Fixtures for the runner: one bench, and every interpreter of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from running import PYENV, VERSIONS, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def interpreter(bench: Bench, version: str) -> Bench:
    found = sorted(PYENV.glob(f"{version}*/bin/python3"))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    bench.python = str(found[0])
    return bench


@pytest.fixture(params=VERSIONS)
def any_python(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    """The bench with each interpreter in turn."""
    return interpreter(bench, request.param)


@pytest.fixture(params=["3.8.18", "3.13.0"])
def edge_python(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    """The bench with the oldest and the newest interpreter."""
    return interpreter(bench, request.param)
