"""How quick the history is, in figures: `python tests/benchmarks/history.py [ROWS]` (100,000 unless given).

Prints the time of `save` (median and 99th of a hundred), of opening, of `find` and `unfinished`, and of `frame` for several filters.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aci_notebook import events as ev
from aci_notebook.database import write
from aci_notebook.history import HistoryStore
from aci_notebook.record import RunRecord, fold
from aci_notebook.rows import row_of
from aci_notebook.spec import RunSpec

NOW = datetime.now(UTC)
CODE = "import pandas as pd\nframe = pd.read_parquet(path)\n" * 6


def one(number: int, total: int, random_of: random.Random) -> RunRecord:
    """A run of the last year, ended in one of several ways."""
    begun = NOW - timedelta(days=365) * (1 - number / total)
    spec = RunSpec(random_of.choice(["python:3.12-slim", "python:3.11-slim", "ubuntu:24.04", "team.azurecr.io/train:7"]), code=CODE)
    spec = replace(spec, tags={"project": random_of.choice(["forecast", "ads"])} if number % 3 else {})
    run = RunRecord(f"r{number:07d}", f"aci-r{number:07d}", "azure", begun, spec, "eastus", notebook=f"work/nb-{number % 40}.ipynb")
    outcome = ev.Outcome(random_of.choices(["succeeded", "failed", "oom"], [20, 3, 1])[0], exit_code=0, peak_memory_bytes=2**29, cpu_s=3.5)
    happened: list[ev.Event] = [ev.CreateRequested(begun)]
    for seconds, phase in ((2, "pulling"), (14, "starting"), (18, "running")):
        happened.append(ev.PhaseEntered(begun + timedelta(seconds=seconds), phase, begun + timedelta(seconds=seconds)))  # type: ignore[arg-type]
    happened += [ev.Ended(begun + timedelta(seconds=60), outcome), ev.DeleteVerified(begun + timedelta(seconds=66))]
    for event in happened:
        run = fold(run, event)
    return run


def timed(act: Callable[[], object], rounds: int = 5) -> tuple[float, object]:
    """The median of some rounds in milliseconds, and what came back."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        result = act()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times), result


def main(rows: int) -> None:
    random_of = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        store = HistoryStore(Path(folder))
        first = one(0, rows, random_of)
        store.save(first)
        begun = time.perf_counter()
        write(store._open(), (row_of(one(number, rows, random_of), 0.0007) for number in range(1, rows)))
        print(f"{rows:,} runs written in {time.perf_counter() - begun:.1f} s, {store.path.stat().st_size / 1e6:.0f} MB")

        times = []
        for number in range(100):
            record = one(rows + number, rows, random_of)
            begun = time.perf_counter()
            store.save(record)
            times.append((time.perf_counter() - begun) * 1000)
        print(f"save                                   median {statistics.median(times):7.2f} ms   99th {sorted(times)[98]:.2f} ms")

        def opened() -> None:
            other = HistoryStore(Path(folder))
            other.unfinished()
            other.close()

        store.frame(limit=1)
        questions: list[tuple[str, Callable[[], object]]] = [
            ("open, unfinished, close", opened),
            ("find last", lambda: store.find("last")),
            ("find by a prefix of the name", lambda: store.find("aci-r0000777")),
            ("frame of all", lambda: store.frame()),
            ("frame state=failed", lambda: store.frame(state="failed")),
            ("frame since=30d", lambda: store.frame(since="30d")),
            ("frame image=3.12 tag=project=ads", lambda: store.frame(image="3.12", tag="project=ads")),
            ("frame notebook=nb-7 since=90d", lambda: store.frame(notebook="nb-7.", since="90d")),
            ("frame limit=50", lambda: store.frame(limit=50)),
        ]
        for words, act in questions:
            took, result = timed(act)
            found = f"{len(result):,} rows" if hasattr(result, "columns") else ""  # type: ignore[arg-type]
            print(f"{words:38s} median {took:7.1f} ms   {found}")
        everything = store.frame()
        for words, act in (("cost()", lambda: everything.aci.cost()), ("table()", lambda: everything.aci.table())):
            print(f"{'.aci.' + words + ' of all':38s} median {timed(act, 3)[0]:7.1f} ms")
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
