"""The hint on the next run's size: what the program used, against what was asked for."""

from __future__ import annotations

from typing import Any

import display_samples as s
import pytest

from aci_notebook.display.advice import advice, peak_text
from aci_notebook.display.render import header_text

GB = 2**30


def over(seconds: float = 98, kind: Any = "succeeded", *, memory: float = 4.0, cpu: float = 2.0, **said: Any) -> Any:
    """A run of that size whose program ran from second 18 on."""
    return s.ended(s.new(memory_gb=memory, cpu=cpu), seconds, kind, **{"exit_code": 0, **said})


@pytest.mark.parametrize(
    ("memory", "peak_gb", "words"),
    [
        (4.0, 0.3, "peak 0.3 of 4 GB: --memory 1 would do"),
        (4.0, 0.02, "peak 0.02 of 4 GB: --memory 1 would do"),
        (4.0, 0.004, "peak under 0.01 of 4 GB: --memory 1 would do"),
        (16.0, 2.5, "peak 2.5 of 16 GB: --memory 3.5 would do"),
        (1.5, 0.3, ""),
        (4.0, 2.2, ""),
        (4.0, 3.0, ""),
        (4.0, 3.8, "peak 3.8 of 4 GB is close to the limit: --memory 5 leaves room"),
        (1.5, 2.8, "peak 2.8 of 1.5 GB is over the limit, and Azure would have ended the run: --memory 3.5 leaves room"),
    ],
)
def test_on_memory(memory: float, peak_gb: float, words: str) -> None:
    assert advice(over(memory=memory, peak_memory_bytes=int(peak_gb * GB))) == words


@pytest.mark.parametrize(
    ("seconds", "cpu_s", "words"),
    [
        (98, 80.0, "used 1.0 of 4 CPU: --cpu 2 would do"),
        (98, 150.0, ""),
        (98, 300.0, ""),
        (47, 0.1, ""),
        (98, 8.0, "used 0.1 of 4 CPU: --cpu 1 would do"),
    ],
)
def test_on_cores_after_half_a_minute_of_work(seconds: float, cpu_s: float, words: str) -> None:
    assert advice(over(seconds, cpu=4.0, cpu_s=cpu_s)) == words


def test_on_both_in_one_hint() -> None:
    both = over(cpu=4.0, memory=16.0, cpu_s=8.0, peak_memory_bytes=2 * GB)
    assert advice(both) == "peak 2.0 of 16 GB, used 0.1 of 4 CPU: --memory 2.5 --cpu 1 would do"


def test_a_run_that_failed_has_none_but_for_its_memory() -> None:
    assert advice(s.running(s.new(memory_gb=8.0))) == ""
    assert advice(over(kind="failed", memory=8.0, exit_code=1, peak_memory_bytes=1)) == ""
    assert advice(over(kind="oom", memory=8.0, exit_code=137)) == "8 GB were not enough: try --memory 16"
    assert advice(over(kind="oom", memory=200.0, exit_code=137)) == "200 GB were not enough: try --memory 240"


def test_the_header_says_the_peak_once() -> None:
    hinted = header_text(over(memory=4.0, peak_memory_bytes=int(0.3 * GB)), s.at(99), live=False)
    assert hinted.count("peak") == 1
    cores = over(cpu=4.0, memory=4.0, cpu_s=8.0, peak_memory_bytes=int(2.2 * GB))
    assert f"{peak_text(cores)} · {advice(cores)}" in header_text(cores, s.at(99), live=False)
    assert "8 GB were not enough: try --memory 16" in header_text(over(kind="oom", memory=8.0, exit_code=137), s.at(99), live=False)
