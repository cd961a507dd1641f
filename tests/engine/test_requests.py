"""What a run costs in requests (issue: at most 30 a minute while it prints, 8 with attach, 5 % of its age while quiet, 6 when old)."""

from __future__ import annotations

import heapq
from itertools import pairwise

import pytest
from world import World, frames, play

from aci_notebook.pace import FLOWING_S, Budget, Pace
from aci_notebook.stage import Course


def steady(seconds: int, every: float = 0.2) -> list[tuple[float, str]]:
    count = int(seconds / every)
    return frames([(n * every, f"line {n}") for n in range(count)], end_at=float(seconds))


@pytest.mark.parametrize("every", [0.02, 0.2, 1.5])
def test_printing_costs_at_most_30_reads_a_minute(every: float) -> None:
    world = World(steady(600, every))
    played = play(world)
    assert world.most_in_a_minute() <= 30
    assert played.record.lines == sum("| line" in text for _, text in world.program)


def test_printing_of_an_image_of_its_own_costs_as_little() -> None:
    program = [(n * 0.2, f"line {n}") for n in range(3_000)]
    world = World(program, terminated=(600.0, 0, "Completed"))
    assert play(world, code=None).outcome.complete
    assert world.most_in_a_minute() <= 30


def test_with_the_websocket_it_costs_at_most_8() -> None:
    world = World(steady(600), websocket=True)
    played = play(world)
    assert world.most_in_a_minute(since=10.0) <= 8
    assert played.record.lines == 3_000


def test_a_quiet_run_is_asked_every_5_percent_of_its_age() -> None:
    world = World(frames([(0.0, "begins")], end_at=1_000.0))
    played = play(world)
    assert played.outcome.succeeded
    times = [at for kind, at in world.asked if kind in {"get", "logs"} and at > 6]
    for before, after in pairwise(times):
        allowed = min(10.0, max(1.0, 0.05 * after))
        assert after - before <= allowed + 0.1
    assert world.most_in_a_minute(since=240.0, until=1_000.0) <= 6


def test_the_end_of_a_quiet_run_is_known_within_its_interval() -> None:
    late = []
    for end in (3.0, 37.3, 59.9, 100.7, 171.3, 238.0, 250.5, 411.0, 640.2, 911.1, 1_800.7, 7_201.3):
        world = World(frames([(0.0, "begins")], end_at=end))
        played = play(world)
        assert played.record.ended_at is not None
        known = (played.record.ended_at - played.record.created_at).total_seconds() - 2.0 - end
        late.append(known / min(10.0, max(1.0, 0.05 * (end + 2))))
    assert max(late) <= 1.05, late


def test_the_state_of_a_quiet_run_is_not_asked_while_it_gives_signs_of_life() -> None:
    world = World(frames([(0.0, "begins")], end_at=1_000.0))
    play(world)
    began = next(at for kind, at in world.asked if kind == "logs")
    assert not [at for kind, at in world.asked if kind == "get" and began < at < 1_000]


@pytest.mark.parametrize("dies_at", [4.0, 30.0, 300.0, 3_000.0])
def test_a_quiet_run_that_dies_without_a_word_is_missed(dies_at: float) -> None:
    world = World(frames([(0.0, "begins")], alive_until=dies_at), terminated=(dies_at, 137, ""))
    assert play(world).outcome.kind == "oom"
    assert world.t - 2 - dies_at < min(130, max(10, 0.6 * dies_at))


def test_an_image_without_python_gives_no_signs_of_life_and_costs_no_more() -> None:
    program = [(at, text) for at, text in frames([(0.0, "begins")], end_at=1_000.0) if "alive" not in text]
    program[-1] = (1_000.0, f"{len(program):>6}# end outcome=succeeded exit=0")
    world = World(program)
    assert play(world).outcome.succeeded
    assert world.most_in_a_minute(since=240.0, until=1_000.0) <= 6


def test_an_eviction_of_a_quiet_run_is_noticed() -> None:
    world = World(frames([(0.0, "begins")]), terminated=(300.0, 7148, ""))
    played = play(world)
    assert played.outcome.kind == "evicted"
    assert world.t < 300 + 90


def test_a_log_that_is_gone_is_doubted_at_once() -> None:
    world = World(frames([(0.0, "begins")]), terminated=(300.0, None, ""))
    world.fault_when = lambda kind, t: "null" if kind == "logs" and t > 302 else None
    assert play(world).outcome.kind == "stopped"
    assert world.t < 302 + 20


def test_a_poll_asks_for_what_is_new_not_for_everything() -> None:
    world = World(steady(120, 0.01))
    play(world)
    assert all(tail is not None and tail <= 2_000 for tail in world.tails[3:-1])


def test_100_runs_stay_under_12000_reads_an_hour_and_the_foreground_keeps_its_pace() -> None:
    """100 printing runs with their paces, on one budget; the reads of an hour are simulated in the order of their times."""
    budget = Budget()
    paces = [Pace(0.0) for _ in range(100)]
    queue = [(0.0, place) for place in range(100)]
    heapq.heapify(queue)
    reads: list[tuple[float, int]] = []
    while queue:
        now, place = heapq.heappop(queue)
        if now >= 3_600:
            continue
        at = now + budget.delay_s(now, foreground=place == 0)
        paces[place].asks(at)
        paces[place].took(fresh=True)
        if at < 3_600:
            reads.append((at, place))
        heapq.heappush(queue, (at + paces[place].interval_s(at), place))
    assert len(reads) < 12_000
    mine = [at for at, place in reads if place == 0]
    assert max(b - a for a, b in pairwise(mine[20:])) <= FLOWING_S + 1.01
    others = [sum(p == place for _, p in reads) for place in range(1, 100)]
    assert min(others) > 0.5 * max(others)


def test_background_runs_wait_for_a_service_that_has_little_left() -> None:
    budget = Budget()
    budget.delay_s(0.0, foreground=False)
    budget.remaining(10)
    waits = [budget.delay_s(0.0, foreground=False) for _ in range(20)]
    assert waits[0] == 0
    assert waits[-1] > 3
    assert budget.delay_s(0.0, foreground=True) == 0


def test_course_without_attach_never_attaches() -> None:
    world = World(steady(10), websocket=True)
    play(world, course=Course(attach=False))
    assert world.count("attach") == 0


def test_a_name_costs_one_look_before_the_create_and_none_before_the_delete() -> None:
    """Its container has just said its end; where it has not, the group is looked at before it is deleted."""

    def asked(**changes: object) -> list[str]:
        world = World(steady(4))
        play(world, **changes)
        return [kind for kind, _ in world.asked]

    unnamed, named = asked(), asked(name="aci-r1")
    assert named == ["get", *unnamed]
    assert named[-2:] == ["delete", "get"]
