"""Intervals and the shared budget."""

from __future__ import annotations

from aci_notebook.pace import ATTACHED_S, FIRST_LOOKS_S, Budget, Pace


def test_first_looks_then_5_percent_between_1_and_10_seconds() -> None:
    pace, waits = Pace(0.0), []
    for _ in FIRST_LOOKS_S:
        waits.append(pace.interval_s(0.0))
        pace.asks(0.0)
    assert tuple(waits) == FIRST_LOOKS_S
    assert [pace.interval_s(age) for age in (1, 20, 100, 200, 10_000)] == [1, 1, 5, 10, 10]


def test_attached_is_checked_rarely() -> None:
    pace = Pace(0.0)
    pace.attached = True
    assert pace.interval_s(0.0) == ATTACHED_S


def test_a_program_that_begins_is_looked_at_quickly_again() -> None:
    pace = Pace(0.0)
    for _ in range(9):
        pace.asks(50.0)
    assert pace.interval_s(50.0) > 1
    pace.hurry()
    assert pace.interval_s(50.0) < 0.5


def test_the_budget_refills() -> None:
    budget = Budget(per_hour=3_600)
    for _ in range(Budget.BURST):
        assert budget.delay_s(0.0, foreground=False) == 0
    assert budget.delay_s(0.0, foreground=False) > 1
    assert budget.delay_s(600.0, foreground=False) == 0
