"""The life of a run: create, follow, leave. One function, `drive`, called by a thread of `runs`.

It asks a `Backend`, tells everything that happens to `emit`, and takes one thing from outside: the `Wish` to end. It knows no notebook, no
SDK and no thread; time comes from a `Clock`. The promises (`design` §6), and where they are kept:

* the name is chosen and the record is on disk before the PUT; a name the person chose is looked up first, never overwritten (here);
* after any create error the group is looked for before anything is concluded: it may exist and cost money (here);
* the closing frame or the container's state decides the end; a failed request never does (`follow`, `stage`);
* after a verdict by state the log is read once more, whole, before anything is deleted (`follow`);
* the deletion is in `finally`, starts whatever happened, is verified by a 404, and is named where it could not be (here, `removal`);
* a wish to end is seen between any two requests and during every wait (`stage`).

`drive` is a plain function with an event sink, not a generator: a generator held by somebody's traceback is not closed, and an
unclosed run is a billed one. A `finally` in a plain function always runs.
"""

from __future__ import annotations

from . import events as ev
from .errors import AciError, NameTaken, Transient
from .follow import Follower
from .pace import Budget
from .payload import RUN_TAG, GroupPlan
from .record import RunRecord
from .removal import remove
from .snapshot import GroupSnapshot
from .stage import Backend, Clock, Course, Emit, Refused, Stage, Wish, WishMet, outcome_of_error


def drive(
    record: RunRecord, plan: GroupPlan | None, backend: Backend, clock: Clock, wish: Wish, emit: Emit, budget: Budget, course: Course
) -> None:
    """Drives one run to its end and its group out of the world. Returns when both are done; raises nothing but bugs.

    `plan` is None exactly when `course.adopt`: the group exists already.
    """
    stage = Stage(record, backend, clock, wish, emit)
    follower = Follower(stage, budget, course)
    outcome: ev.Outcome | None = None
    try:
        if plan is None:
            stage.emit(ev.Adopted(clock.now()))
        else:
            _create(stage, follower, plan)
        outcome = follower.follow()
    except Refused as refused:
        outcome = refused.outcome
    except WishMet:
        outcome = None if wish.kind == "detach" else ev.Outcome("cancelled", reason=stage.record.cancel_reason)
    except AciError as error:
        outcome = outcome_of_error(error)
    except BaseException as error:
        outcome = ev.Outcome("error", reason=f"{type(error).__name__}: {error}", complete=False)
        raise
    finally:
        if outcome is None:
            stage.emit(ev.Detached(clock.now()))
        else:
            _leave(stage, follower, outcome)


def _leave(stage: Stage, follower: Follower, outcome: ev.Outcome) -> None:
    """Says the end and removes the group, in this order; the group goes whatever the listeners do at the news.

    A name that the person chose may be another run's by now, so its group is looked at first; not where this run's own container has
    just said its end.
    """
    keep = stage.record.spec.keep
    kept = keep == "always" or (keep == "failed" and not outcome.succeeded)
    try:
        stage.emit(ev.Ended(stage.clock.now(), outcome))
    finally:
        group = stage.record.group
        if kept and outcome.kind not in {"cancelled", "lost"} and group == "alive":
            stage.emit(ev.GroupKept(stage.clock.now()))
        elif group in {"asked", "alive"}:
            made = group == "alive"
            said_by_itself = follower.cursor.closing is not None and outcome.kind not in {"stopped", "lost"}
            sure = made and (stage.record.spec.name is None or said_by_itself)
            remove(stage.backend, stage.clock, stage.record.name, stage.record.run_id, stage.emit, sure=sure, made=made)


def _create(stage: Stage, follower: Follower, plan: GroupPlan) -> None:
    stage.check_wish()
    stage.only_cancel = True  # a group that is half made cannot be left alone: a wish to detach waits until it is there
    deadline = stage.born + stage.record.spec.start_timeout_s
    if stage.record.spec.name is not None and stage.record.spec.if_exists != "update":
        _refuse_taken_name(stage, deadline)
    stage.emit(ev.CreateRequested(stage.clock.now()))
    made = _put(stage, plan, deadline)
    stage.recovered()
    stage.emit(ev.CreateAccepted(stage.clock.now(), made.location))
    stage.only_cancel = False
    follower.see(made)


def _put(stage: Stage, plan: GroupPlan, deadline: float) -> GroupSnapshot:
    """The PUT, until it is answered: whatever its error, the group is looked for before it is sent again (`aci-facts` T14)."""
    while True:
        stage.check_wish()
        try:
            return stage.backend.create(plan)
        except Transient as error:
            stage.ride_out("create", error, deadline)
            found = _look(stage, deadline)
            if found is not None and found.tags.get(RUN_TAG) == stage.record.run_id:
                return found
        except AciError as error:
            raise Refused(outcome_of_error(error)) from error


def _look(stage: Stage, deadline: float) -> GroupSnapshot | None:
    """One sure answer to whether the group exists, within the deadline."""
    while True:
        stage.check_wish()
        try:
            found = stage.backend.get(stage.record.name)
        except Transient as error:
            stage.ride_out("get", error, deadline)
        else:
            stage.recovered()
            return found


def _refuse_taken_name(stage: Stage, deadline: float) -> None:
    found = _look(stage, deadline)
    if found is None or found.tags.get(RUN_TAG) == stage.record.run_id:
        return
    owner = found.tags.get(RUN_TAG)
    error = NameTaken(
        f"a container group {stage.record.name} exists already, of {f'run {owner}' if owner else 'somebody else'}",
        hint="choose another --name, or leave --name out: every run then gets a name of its own",
    )
    raise Refused(outcome_of_error(error))
