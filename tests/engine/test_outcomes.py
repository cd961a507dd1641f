"""Each way a run can end is an outcome of its own, with words of its own, and its group is gone whatever happened."""

from __future__ import annotations

import pytest
from world import World, frames, play, transient

from aci_notebook import errors as er
from aci_notebook.stage import Course


def test_a_run_succeeds_and_is_deleted_and_verified() -> None:
    world = World(frames([(0.1, "hello"), (3.0, "world")], end_at=3.0))
    played = play(world)
    assert played.outcome.kind == "succeeded"
    assert played.outcome.complete
    assert played.text == "hello\nworld\n"
    assert played.record.group == "gone"
    assert world.deletes == 1
    words = [word for word, _ in played.record.phases]
    assert words[0] == "queued"
    assert words[-2:] == ["running", "ended"]


@pytest.mark.parametrize(
    ("end", "kind", "code"),
    [
        ("outcome=failed exit=3", "failed", 3),
        ("outcome=signal exit=139 signal=SIGSEGV", "failed", 139),
        ("outcome=oom exit=137", "oom", 137),
        ("outcome=timeout exit=124", "timeout", 124),
        ("outcome=install_failed exit=125", "install_failed", 125),
        ("outcome=no_interpreter exit=127", "no_interpreter", 127),
        ("outcome=restarted exit=0", "restarted", 0),
        ("outcome=terminated exit=143", "stopped", 143),
        ("outcome=something-new exit=1", "error", 1),
    ],
)
def test_the_closing_frame_says_how_it_ended(end: str, kind: str, code: int) -> None:
    world = World(frames([(0.1, "x")], end_at=1.0, end=end))
    played = play(world)
    assert (played.outcome.kind, played.outcome.exit_code) == (kind, code)
    assert played.outcome.reason or kind == "failed"
    assert not world.exists


def test_a_runner_that_came_too_late_never_ran() -> None:
    world = World([(0.0, "     1# start run=r1 at=1"), (0.0, "     2# end outcome=late exit=75")])
    played = play(world)
    assert (played.outcome.kind, played.outcome.exit_code) == ("late", 75)
    assert "was not run" in played.outcome.reason


@pytest.mark.parametrize("retries", [0, 1])
def test_a_container_that_began_anew_too_late_did_not_run_a_second_time(retries: int) -> None:
    world = World(frames([(0.1, "x")]))
    anew = [(6.0, "     1# start run=r1 at=2"), (6.0, "     2# end outcome=late exit=75")]
    world.at(8.0, lambda: setattr(world, "program", anew))
    played = play(world, retries=retries)
    assert played.outcome.kind == "restarted"
    assert "second time" in played.outcome.reason
    assert played.record.warnings == ("the container lost its state and began anew",)
    assert not world.exists


def _runs_again(world: World) -> None:
    again = frames([(6.1, "x")], end_at=60.0)
    world.at(8.0, lambda: setattr(world, "program", [(max(at, 6.0), text.replace("at=1", "at=2")) for at, text in again]))


def test_a_container_that_began_anew_is_ended_and_nothing_of_it_is_shown() -> None:
    world = World(frames([(0.1, "x")]))
    _runs_again(world)
    played = play(world)
    assert played.outcome.kind == "restarted"
    assert "second time was ended" in played.outcome.reason
    assert played.text == "x\n"
    assert world.t < 25
    assert not world.exists


def test_with_retries_a_container_that_began_anew_runs_again_and_says_so() -> None:
    world = World(frames([(0.1, "x")]))
    _runs_again(world)
    played = play(world, retries=1)
    assert played.outcome.succeeded
    assert played.text == "x\nx\n"
    assert played.record.attempts == 2
    (said,) = played.record.warnings
    assert "the program runs again from its beginning" in said


@pytest.mark.parametrize(
    ("terminated", "kind"),
    [
        ((5.0, 137, ""), "oom"),
        ((5.0, 7147, ""), "evicted"),
        ((5.0, 7148, ""), "evicted"),
        ((5.0, None, "Container stopped per client request"), "stopped"),
        ((5.0, 2, "Error"), "failed"),
    ],
)
def test_without_a_frame_the_state_decides_after_one_more_reading(terminated: tuple[float, int | None, str], kind: str) -> None:
    world = World(frames([(0.1, "a"), (4.9, "last words")]), terminated=terminated)
    played = play(world)
    assert played.outcome.kind == kind
    assert played.text == "a\nlast words\n"
    assert not played.outcome.complete
    assert not world.exists


@pytest.mark.parametrize("nulls", [1, 2, 3])
def test_a_null_at_the_last_reading_loses_nothing(nulls: int) -> None:
    world = World(frames([(0.1, "a"), (4.9, "last words")]), terminated=(5.0, 137, ""))
    left = [nulls]

    def fault(kind: str, t: float) -> str | None:
        if kind == "logs" and t > 7.0 and left[0]:
            left[0] -= 1
            return "null"
        return None

    world.fault_when = fault
    assert play(world).text == "a\nlast words\n"


def test_a_frame_that_lags_behind_the_state_is_waited_for() -> None:
    world = World(frames([(0.1, "a")], end_at=3.0, end="outcome=failed exit=1"), terminated=(1.5, 1, "Error"))
    assert play(world).outcome.complete


def test_a_group_that_somebody_deletes_is_lost_within_seconds() -> None:
    world = World(frames([(0.1, "a")]))
    world.at(10.0, lambda: setattr(world, "gone_at", 10.0))
    played = play(world)
    assert played.outcome.kind == "lost"
    assert world.t < 16


def test_a_stopped_group_without_any_view_is_stopped() -> None:
    world = World(frames([(0.1, "a")]), terminated=(4.0, None, ""), group_state="Stopped")
    assert play(world).outcome.kind == "stopped"


@pytest.mark.parametrize(("code", "kind"), [(7148, "evicted"), (None, "stopped")])
def test_a_terminated_frame_asks_the_state_who_it_was(code: int | None, kind: str) -> None:
    world = World(frames([(0.1, "a")], end_at=2.0, end="outcome=terminated exit=143"), terminated=(4.0, code, ""))
    played = play(world)
    assert played.outcome.kind == kind
    assert played.outcome.complete


def test_a_terminated_frame_of_a_deleted_group_is_lost() -> None:
    world = World(frames([(0.1, "a")], end_at=5.0, end="outcome=terminated exit=143"), websocket=True)
    world.at(7.05, lambda: setattr(world, "gone_at", 7.05))
    assert play(world).outcome.kind == "lost"


def test_a_group_that_never_starts_ends_at_its_start_timeout() -> None:
    world = World(start_s=10_000)
    played = play(world, start_timeout_s=120.0)
    assert played.outcome.kind == "start_timeout"
    assert "--start-timeout" in played.outcome.hint
    assert 120 <= world.t < 140
    assert not world.exists


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (er.QuotaError("no cores"), "quota"),
        (er.CapacityError("no room"), "capacity"),
        (er.ImagePullError("no image"), "pull_failed"),
        (er.AuthError("no right"), "auth"),
        (er.NameTaken("other region"), "name_taken"),
        (er.ServiceError("bad request"), "refused"),
    ],
)
def test_a_refused_create_is_its_own_outcome_and_the_group_is_looked_for(error: er.AciError, kind: str) -> None:
    world = World(faults={"create": [error]})
    played = play(world)
    assert played.outcome.kind == kind
    assert world.count("create") == 1
    assert world.count("get") == 1
    assert played.record.group == "gone"


def test_a_pull_that_the_registry_refuses_is_not_waited_out() -> None:
    world = World(start_s=1e5)
    snapshot = world.snapshot

    def refused(name: str):
        from dataclasses import replace

        from aci_notebook.snapshot import PlatformEvent

        return replace(snapshot(name), events=(PlatformEvent("Failed", 'Failed to pull image "x": manifest unknown', "Warning"),))

    world.snapshot = refused  # type: ignore[method-assign]
    played = play(world)
    assert played.outcome.kind == "pull_failed"
    assert world.t < 5


def test_an_image_of_its_own_ends_by_its_state_with_its_whole_log() -> None:
    program = [(n / 10, f"line {n}") for n in range(50)]
    world = World(program, terminated=(5.0, 0, "Completed"))
    played = play(world, code=None)
    assert played.outcome.kind == "succeeded"
    assert played.outcome.complete
    assert played.text == "".join(f"line {n}\n" for n in range(50))


def test_a_success_without_its_variable_is_none() -> None:
    world = World(frames([(0.1, "a")], end_at=1.0))
    played = play(world, outputs=("x",))
    assert played.outcome.kind == "output_missing"
    assert "x" in played.outcome.reason


def test_a_runner_that_exits_0_after_a_restart_and_left_no_frame_is_no_success() -> None:
    world = World(frames([(0.1, "a")]), terminated=(5.0, 0, "Completed"), restarts=1)
    assert play(world).outcome.kind == "restarted"


def test_a_container_without_sh_says_what_the_container_said() -> None:
    world = World([(0.0, "exec: /bin/sh: no such file")], terminated=(0.5, 127, "Error"))
    played = play(world)
    assert played.outcome.kind == "failed"
    assert "no such file" in played.outcome.reason


def test_adopting_a_group_that_is_gone_is_known_at_once() -> None:
    world = World()
    played = play(world, course=Course(adopt=True))
    assert played.outcome.kind == "lost"
    assert world.t < 5


def test_a_restart_in_place_is_told_and_the_program_is_not_doubled() -> None:
    lines = frames([(n / 10, f"line {n}") for n in range(100)])
    again = [(20.0, line) for _, line in lines]
    again += [(20.0, f"{len(lines) + 1:>6}# again attempt=1"), (20.1, f"{len(lines) + 2:>6}# end outcome=restarted exit=0")]
    world = World(lines)
    world.at(20.0, lambda: (setattr(world, "program", again), setattr(world, "restarts", 1)))  # type: ignore[func-returns-value]
    played = play(world)
    assert played.outcome.kind == "restarted"
    assert played.text == "".join(f"line {n}\n" for n in range(100))
    assert played.outcome.complete


def test_the_end_does_not_wait_for_the_state() -> None:
    world = World(frames([(0.1, "x")], end_at=0.2), websocket=True)
    played = play(world)
    ended = next(event for event in played.events if type(event).__name__ == "Ended")
    assert (ended.at - played.record.created_at).total_seconds() < world.start_s + 1.5


def test_every_retry_of_a_flaky_service_is_told_and_over() -> None:
    world = World(frames([(0.1, "x")], end_at=30.0), faults={"logs": [None, transient(), transient(), None]})
    kinds = play(world).kinds()
    assert kinds["TroubleMet"] == 2
    assert kinds["TroublePassed"] == 1
