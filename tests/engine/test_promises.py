"""The promises of the life cycle (design §6), one by one, on a fake service and a fake clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from world import World, frames, play, transient

from aci_notebook import errors as er
from aci_notebook.pace import Budget
from aci_notebook.stage import Course

LOST = transient("connection dropped")
LOST.code = "lost-answer"


def program(lines: int = 100, every: float = 0.1) -> list[tuple[float, str]]:
    return frames([(n * every, f"line {n}") for n in range(lines)], end_at=lines * every)


def expected(lines: int = 100) -> str:
    return "".join(f"line {n}\n" for n in range(lines))


def test_the_record_is_written_before_the_put() -> None:
    seen: list[tuple[str, int]] = []
    world = World(program())
    play(world, listener=lambda record, event: seen.append((type(event).__name__, world.count("create"))))
    assert seen[0] == ("CreateRequested", 0)


def test_a_lost_answer_to_the_put_does_not_make_a_second_group() -> None:
    world = World(program(), faults={"create": [LOST]})
    played = play(world)
    assert world.count("create") == 1
    assert played.text == expected()


def test_a_put_that_never_arrived_is_sent_again_after_looking() -> None:
    world = World(program(), faults={"create": [transient(), transient(), transient()]})
    played = play(world)
    assert [kind for kind, _ in world.asked[:6]] == ["create", "get", "create", "get", "create", "get"]
    assert played.outcome.succeeded


def test_a_404_right_after_the_create_concludes_nothing() -> None:
    world = World(program(), fault_when=lambda kind, t: "404" if kind == "get" and t < 20 else None)
    played = play(world)
    assert played.outcome.succeeded
    assert played.text == expected()


def test_two_404_in_mid_run_conclude_nothing() -> None:
    world = World(program(600), faults={"logs": [None, "null", None], "get": [None] * 8 + ["404", "404"]})
    assert play(world).outcome.succeeded


@pytest.mark.parametrize("kind", ["logs", "get"])
@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("fault", [transient(status=429), transient(retry_after_s=3.0, status=429), transient(status=503), "null"])
def test_any_subset_of_reads_may_fail(kind: str, every: int, fault: er.AciError | str) -> None:
    if kind == "get" and fault == "null":
        fault = "404" if every == 3 else transient()
    counter = [0]

    def sometimes(asked: str, t: float) -> er.AciError | str | None:
        counter[0] += asked == kind
        return fault if asked == kind and counter[0] % every == 0 else None

    world = World(program(200), fault_when=sometimes)
    played = play(world)
    assert played.outcome.succeeded
    assert played.text == expected(200)
    assert not world.exists


def test_retry_after_is_obeyed_and_a_wish_ends_the_waiting() -> None:
    world = World(program(600), faults={"logs": [None, transient(retry_after_s=300, status=429)]})
    world.at(30.0, lambda: world.want("cancel"))
    played = play(world)
    after = next(at for kind, at in world.asked if kind == "logs" and at > 2.5)
    assert world.count("logs", since=after + 0.1) <= 1
    assert played.outcome.kind == "cancelled"
    assert world.t < 32


def test_retry_after_is_obeyed_while_the_websocket_is_open_and_text_goes_on() -> None:
    told: list[float] = []
    world = World(program(600), websocket=True, faults={"logs": [None, transient(retry_after_s=40, status=429)]})
    played = play(world, listener=lambda record, event: told.append(world.t) if type(event).__name__ == "TextReceived" else None)
    refused = [at for kind, at in world.asked if kind == "logs"][1]
    assert world.count("logs", since=refused + 0.1, until=refused + 39) == 0
    assert max(b - a for a, b in pairwise(told)) < 1.0
    assert played.text == expected(600)


def test_a_websocket_that_closes_is_no_end() -> None:
    world = World(program(300), websocket=True, websocket_ends=10.0)
    played = play(world)
    assert played.outcome.succeeded
    assert played.text == expected(300)


@pytest.mark.parametrize("when", [0.005, 0.3, 1.0, 2.5, 6.0])
def test_a_wish_to_cancel_at_any_phase_leaves_no_group(when: float) -> None:
    world = World(program(3000))
    world.at(when, lambda: world.want("cancel"))
    played = play(world)
    assert played.outcome.kind == "cancelled"
    assert not world.exists
    assert played.record.group in {"gone", "unborn"}
    assert world.t < when + 3


def test_a_wish_before_the_put_sends_nothing() -> None:
    world = World(program())
    world.want("cancel")
    played = play(world)
    assert world.asked == []
    assert played.record.group == "unborn"


@pytest.mark.parametrize("when", [0.005, 0.3, 5.0])
def test_a_wish_to_detach_leaves_a_group_that_runs(when: float) -> None:
    world = World(program(3000), faults={"create": [transient()]})
    world.at(when, lambda: world.want("detach"))
    played = play(world)
    assert played.record.detached
    assert played.record.group == "alive"
    assert world.exists
    assert world.deletes == 0


@pytest.mark.parametrize(
    ("keep", "end", "stays"),
    [
        ("never", "outcome=failed exit=1", False),
        ("failed", "outcome=failed exit=1", True),
        ("failed", "outcome=succeeded exit=0", False),
        ("always", "outcome=succeeded exit=0", True),
    ],
)
def test_keep(keep: str, end: str, stays: bool) -> None:
    world = World(frames([(0.1, "x")], end_at=1.0, end=end))
    played = play(world, keep=keep)
    assert world.exists == stays
    assert played.record.group == ("kept" if stays else "gone")


def test_a_cancelled_run_is_not_kept() -> None:
    world = World(program(3000))
    world.at(5.0, lambda: world.want("cancel"))
    play(world, keep="always")
    assert not world.exists


def test_a_name_that_somebody_has_is_not_touched() -> None:
    world = World(program(), created_at=0.0, tags={"aci-notebook-run": "other"})
    played = play(world, name="aci-r1")
    assert played.outcome.kind == "name_taken"
    assert world.count("create", "delete") == 0
    assert world.exists


def test_a_listener_that_breaks_does_not_keep_the_group() -> None:
    def broken(record: object, event: object) -> None:
        if type(event).__name__ in {"TextReceived", "Ended"}:
            raise RuntimeError("display")

    world = World(program())
    with pytest.raises(RuntimeError):
        play(world, listener=broken)
    assert not world.exists


def test_a_deletion_is_tried_until_it_is_answered_and_then_verified() -> None:
    faults = {"delete": [transient(), transient(status=409), transient(retry_after_s=200)]}
    world = World(program(), faults=faults, delete_shows_for_s=4.0)  # type: ignore[arg-type]
    played = play(world)
    assert played.record.group == "gone"
    assert world.count("delete") >= 4


def test_a_deletion_that_the_service_forgot_is_asked_again() -> None:
    world = World(program(), faults={"delete": ["ignored"]})
    played = play(world)
    assert world.deletes == 2
    assert played.record.group == "gone"


def test_a_deletion_that_cannot_be_verified_is_named() -> None:
    world = World(program(), fault_when=lambda kind, t: transient("it is down") if t > 11 else None)
    played = play(world)
    assert played.record.group == "unverified"
    assert "%aci gc" in played.record.warnings[-1]


def test_a_group_with_our_name_and_another_tag_is_not_deleted() -> None:
    world = World(program(), faults={"create": [er.ServiceError("refused")]}, created_at=0.0, tags={"aci-notebook-run": "other"})
    played = play(world)
    assert world.deletes == 0
    assert world.exists
    assert played.outcome.kind == "refused"


def taken_at(world: World, when: float, program: list[tuple[float, str]]) -> None:
    """At that second another run makes the group of this name its own."""

    def take() -> None:
        world.tags, world.created_at = {"aci-notebook-run": "r2"}, world.t
        world.program = [(at, line.replace("run=r1", "run=r2")) for at, line in program]

    world.at(when, take)


@pytest.mark.parametrize("when", [0.2, 5.0])
@pytest.mark.parametrize("websocket", [False, True])
def test_a_name_that_another_run_takes_is_another_runs(when: float, websocket: bool) -> None:
    world = World(program(3000), websocket=websocket, websocket_ends=when - 0.3)
    taken_at(world, when, frames([(0.1 * n, f"theirs {n}") for n in range(400)], end_at=60.0))
    played = play(world, name="aci-r1")
    assert played.outcome.kind == "lost"
    assert "run r2 took the name aci-r1" in played.outcome.reason
    assert "theirs" not in played.text
    assert expected(3000).startswith(played.text)
    assert world.deletes == 0
    assert world.exists


def test_a_container_that_was_ended_for_another_run_says_which() -> None:
    world = World(frames([(0.1, "x")], end_at=5.0, end="outcome=terminated exit=143"))
    world.at(6.9, lambda: world.tags.update({"aci-notebook-run": "r2"}))
    played = play(world, name="aci-r1")
    assert "run r2 took the name aci-r1" in played.outcome.reason
    assert world.deletes == 0


def test_a_wish_to_cancel_does_not_delete_the_group_of_the_run_that_took_the_name() -> None:
    world = World(program(3000))
    taken_at(world, 5.0, program(3000))
    world.at(5.001, lambda: world.want("cancel"))
    played = play(world, name="aci-r1")
    assert played.outcome.kind == "cancelled"
    assert world.deletes == 0


def test_a_log_of_the_run_before_is_not_taken_for_ones_own() -> None:
    before = World(frames([(0.0, "theirs")], end_at=0.1, end="outcome=failed exit=3"), created_at=0.0, start_s=0.0)
    old = before.text(None).replace("run=r1", "run=r0")
    world = World(program())
    really = world.logs

    def logs(name: str, container: str, tail: int | None) -> str | None:
        return old if world.t < 6 else really(name, container, tail)

    world.logs = logs  # type: ignore[method-assign]  # this world, for six seconds
    played = play(world)
    assert played.outcome.succeeded
    assert played.text == expected()


def test_a_group_whose_tags_somebody_took_away_is_deleted() -> None:
    world = World(program())
    world.at(5.0, lambda: world.tags.clear())
    assert play(world, name="aci-r1").outcome.succeeded
    assert not world.exists


def test_credentials_that_fail_in_mid_run_are_ridden_out() -> None:
    world = World(program(600), fault_when=lambda kind, t: er.AuthError("token expired") if 10 < t < 40 else None)
    played = play(world)
    assert played.outcome.succeeded
    assert played.text == expected(600)


def test_credentials_that_stay_away_end_as_auth_with_the_remedy() -> None:
    failing = er.AuthError("token expired", hint="az login")
    world = World(frames([(0.1, "x")]), fault_when=lambda kind, t: failing if t > 10 else None)
    played = play(world, timeout_s=60.0, start_timeout_s=60.0)
    assert played.outcome.kind == "auth"
    assert played.outcome.hint == "az login"


def test_an_adopted_run_has_every_line_from_the_first() -> None:
    world = World(program(600), created_at=-20.0, tags={"aci-notebook-run": "r1"})
    played = play(world, course=Course(adopt=True))
    assert played.text == expected(600)
    assert played.outcome.complete
    assert not world.exists


def test_what_left_the_window_before_adoption_is_a_gap_of_its_size() -> None:
    world = World(program(600), created_at=-40.0, tags={"aci-notebook-run": "r1"}, window_bytes=2_000)
    played = play(world, course=Course(adopt=True))
    shown = played.text.count("\n")
    assert played.record.gaps == 1
    assert played.record.lost_lines - 2 + shown == 600  # the start and phase lines are among the lost
    assert not played.outcome.complete


def test_nulls_while_hungry_do_not_make_a_storm_of_requests() -> None:
    burst = frames([(5.0, f"line {n}") for n in range(5_000)], end_at=60.0)
    world = World(burst, fault_when=lambda kind, t: "null" if kind == "logs" and 8 < t < 50 else None)
    played = play(world)
    assert played.text == expected(5_000)
    assert world.most_in_a_minute() <= 60


def test_the_services_own_count_is_followed() -> None:
    world = World(program(6000), reads_left=2)
    play(world, budget=Budget(), course=Course(foreground=False))
    assert world.count("get", "logs") < 600
