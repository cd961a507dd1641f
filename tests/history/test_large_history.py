"""100,000 runs: a question costs what its answer holds. How long that takes: tests/benchmarks/history.py."""

from __future__ import annotations

import importlib.util
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.database import write
from aci_notebook.history import HistoryStore
from aci_notebook.rows import row_of

RUNS = 100_000
MADE = 2_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryStore]:
    """Some thousand different runs, each fifty times, under ids of their own."""
    place = Path(__file__).parents[1] / "benchmarks" / "history.py"
    room = importlib.util.spec_from_file_location("history_benchmark", place)
    assert room is not None
    assert room.loader is not None
    benchmark = importlib.util.module_from_spec(room)
    room.loader.exec_module(benchmark)
    random_of = random.Random(7)
    made = [row_of(benchmark.one(number, MADE, random_of), 0.0007) for number in range(MADE)]
    store = HistoryStore(tmp_path_factory.mktemp("large"))
    store.save(benchmark.one(0, MADE, random_of))
    write(store._open(), ((f"r{copy:03d}{number:05d}", *row[1:]) for copy in range(RUNS // MADE) for number, row in enumerate(made)))
    store.frame(limit=1)  # pandas is imported
    yield store
    store.close()


@pytest.mark.parametrize(
    ("filters", "least"),
    [
        ({}, RUNS),
        ({"state": "failed"}, RUNS // 10),
        ({"outcome": "oom"}, RUNS // 100),
        ({"image": "3.12"}, RUNS // 10),
        ({"since": "90d"}, RUNS // 10),
        ({"until": "90d"}, RUNS // 10),
        ({"tag": "project=ads"}, RUNS // 10),
        ({"notebook": "nb-7."}, RUNS // 100),
        ({"name": "aci-r0000777"}, RUNS // MADE),
        ({"limit": 50}, 50),
    ],
    ids=str,
)
def test_a_question_costs_what_its_answer_holds(large: HistoryStore, filters: dict[str, Any], least: int) -> None:
    def asked(**filters: Any) -> tuple[int, float]:
        begun = time.thread_time()
        frame = large.frame(**filters)
        return len(frame), time.thread_time() - begun

    few_s = min(asked(limit=RUNS // 100)[1] for _ in range(2))
    count, took_s = min((asked(**filters) for _ in range(2)), key=lambda found: found[1])
    assert count >= least
    assert took_s < 3 * 100 * few_s, "more than in proportion to all there are"
    if count < RUNS // 2:
        assert took_s < min(asked()[1] for _ in range(2)), "a filter must not cost more than reading everything"
