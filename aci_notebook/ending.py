"""How a run ended: by the runner's closing frame, or by the container's state where there is no frame.

After a verdict by state the log is read once more before anything is deleted: what the service still holds comes home, and a closing
frame found there says more than the state does. A frame that says "terminated" knows only that a signal came; the state tells from whom.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import events as ev
from .errors import AuthError, Transient
from .payload import other_run
from .spec import RunSpec
from .transitions import HINTS, later, lost, verdict_of_frame, verdict_of_state

if TYPE_CHECKING:
    from .follow import Follower

COLLECT_FOR_S = 60.0
EMPTY_READS, EMPTY_EVERY_S = 4, 0.6
WHO_FOR_S, WHO_EVERY_S = 6.0, 0.5
GONE_LOOKS = 2
PLATFORM = {"evicted", "oom"}
MOVED = "the platform began the container anew while the program ran; it was not run a second time"


class Ending:
    """The end of one follower's run."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.stage = follower.stage
        self._stated: ev.Outcome | None = None

    def by_frame(self) -> ev.Outcome | None:
        """The outcome that the closing frame states; None while it is not here."""
        closing = self.follower.cursor.closing
        if closing is None:
            return None
        self.follower.teller.lose_unfinished()
        said = verdict_of_frame(closing.values, complete=self.stage.record.gaps == 0)
        if said.kind == "stopped":
            return self._by_whom(said)
        if said.kind == "no_interpreter":
            spec = self.follower.spec
            if spec.command:
                return replace(said, reason=f"the image {spec.image} has no program {spec.command[0]}", hint="choose another --image")
            return replace(said, reason=f"the image {spec.image} has no {spec.lang} that can run this cell")
        if said.kind == "timeout" and self.follower.spec.max_cost_usd is not None:
            return replace(said, hint=f"give it more: --timeout or --max-cost {self.follower.spec.max_cost_usd:g}, whichever is less")
        if said.kind == "late" and self.stage.record.since("running") is not None:
            return replace(said, kind="restarted", reason=MOVED, hint=HINTS["restarted"])
        return self._with_outputs(said)

    def by_state(self, verdict: ev.Outcome) -> ev.Outcome:
        """The state says that it is over: what is left of the log is read before the group may go."""
        follower = self.follower
        if verdict.kind in {"lost", "pull_failed"}:
            follower.teller.tell(follower.cursor.give_up())
            return verdict
        self._stated = verdict
        if later(self.stage.record.phase, "collecting"):
            now = self.stage.clock.now()
            self.stage.emit(ev.PhaseEntered(now, "collecting", now))
        whole = self._read_rest(verdict)
        follower.teller.tell(follower.cursor.give_up())
        said = self.by_frame()
        if said is not None:
            return said
        follower.teller.lose_unfinished()
        if follower.spec.has_runner:
            return self._with_outputs(self._without_frame(verdict))
        return replace(verdict, complete=whole and self.stage.record.gaps == 0)

    def _read_rest(self, verdict: ev.Outcome) -> bool:
        """Reads the log to its end; whether the service gave it. An empty answer is asked again: it may be one of its nulls (T6)."""
        stage, cursor = self.stage, self.follower.cursor
        expects_frame = self.follower.spec.has_runner and verdict.kind in {"succeeded", "failed"}
        deadline, unsatisfied = stage.clock.monotonic() + COLLECT_FOR_S, 0
        while not cursor.complete and stage.clock.monotonic() < deadline:
            stage.check_wish()
            try:
                content = stage.backend.logs(self.follower.name, self.follower.name, cursor.tail())
            except (Transient, AuthError) as error:
                stage.trouble("logs", error)
                stage.pause(stage.put_off_s())
                continue
            stage.recovered()
            self.follower.teller.tell(cursor.read(content))
            if cursor.hungry:
                continue
            if content and not expects_frame:
                return True
            unsatisfied += 1
            if unsatisfied >= EMPTY_READS:
                return bool(content)
            stage.pause(EMPTY_EVERY_S)
        return cursor.complete

    def _without_frame(self, verdict: ev.Outcome) -> ev.Outcome:
        """A runner that left no closing frame: what the state says, and what the container said instead of it."""
        if verdict.kind == "succeeded" and self.stage.record.restarts:
            reason = "the platform restarted the container, and its last words are lost"
            return replace(verdict, kind="restarted", reason=reason, hint="run the cell again", complete=False)
        words = [text for text in self.follower.cursor.foreign if text.strip()][-3:]
        if verdict.kind == "failed" and words and not self.follower.teller.framed:
            return replace(verdict, reason=f"{verdict.reason}: {' / '.join(words)[:500]}", complete=False)
        return replace(verdict, complete=False)

    def _with_outputs(self, outcome: ev.Outcome) -> ev.Outcome:
        """A success without something that was asked for by -o is none."""
        if not outcome.succeeded:
            return outcome
        spec = self.follower.spec
        wanted = [*(f"var:{name}" for name in spec.outputs), *(f"path:{path}" for path in spec.output_paths)]
        homes = {home.name: home.reason for home in self.stage.record.homes}
        missing = {name: homes.get(name, "it did not arrive") for name in wanted if homes.get(name, "it did not arrive")}
        if not missing:
            return outcome
        words = "; ".join(f"{_called(name, spec)}: {reason}" for name, reason in missing.items())
        return replace(outcome, kind="output_missing", reason=words, hint="the program itself succeeded; the other outputs are here")

    # -- a signal from outside ------------------------------------------------------------------------------------

    def _by_whom(self, said: ev.Outcome) -> ev.Outcome:
        """Who ended it, as the state tells, which lags by seconds (T29); what the frame says where it tells nothing."""
        if self._stated is not None:
            return self._merged(said, self._stated)
        stage, gone = self.stage, 0
        deadline = stage.clock.monotonic() + WHO_FOR_S
        while stage.clock.monotonic() < deadline:
            stage.check_wish()
            try:
                found = stage.backend.get(self.follower.name)
            except (Transient, AuthError) as error:
                stage.trouble("get", error)
                stage.pause(max(stage.put_off_s(), WHO_EVERY_S))
                continue
            stage.recovered()
            other = other_run(found.tags, stage.record.run_id) if found else ""
            gone = gone + 1 if found is None or other else 0
            if gone >= GONE_LOOKS:
                end = lost(self.follower.name, other)
                return replace(said, kind=end.kind, reason=end.reason, hint=end.hint)
            if found is not None and not other:
                self.follower.see(found)
                stated = verdict_of_state(found)
                if stated is not None:
                    return self._merged(said, stated)
                if stage.record.restarts:
                    return said
            stage.pause(WHO_EVERY_S)
        return said

    def _merged(self, said: ev.Outcome, stated: ev.Outcome) -> ev.Outcome:
        if stated.kind not in PLATFORM:
            return said
        return replace(said, kind=stated.kind, exit_code=stated.exit_code, reason=stated.reason, hint=stated.hint)


def _called(name: str, spec: RunSpec) -> str:
    """What a person calls something that was asked for: by its name, or as what the function returned."""
    return f"what {spec.function} returned" if spec.function else name.split(":", 1)[1]
