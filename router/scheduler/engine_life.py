"""The life of one engine: its events, and the actions that follow from them.

`EngineLife` is the only class that changes slots, and only a pass of `Scheduler` calls its
methods. Each method leaves the slot consistent and returns actions. The class is built in
layers, one per file: `shared_slot` (its callers), `moving_slot` (its state), `fetching_slot`
(its files), `serving_slot` (its requests), `starting_slot` (its process). This file handles the
reports of actions, and timers.
"""

from __future__ import annotations

from dataclasses import replace

from router.scheduler import actions, events, memory, rejections
from router.scheduler.actions import Action
from router.scheduler.forecast import Forecast
from router.scheduler.history import Stage
from router.scheduler.lifecycle import Cause, State
from router.scheduler.memory import Shrink
from router.scheduler.starting_slot import StartingSlot
from router.scheduler.track import FailureKind
from router.scheduler.trials import Trials

_ENDS_AT_ONCE = (State.STARTING, State.FALLING_ASLEEP, State.ASLEEP, State.WAKING)
SHORT_COOL_DOWN = 1.0  # seconds; during a longer cool-down, requests are refused


class EngineLife(StartingSlot):
    """The slot of one engine, with the methods that change it."""

    __slots__ = ()

    def report(self, event: events.Report, now: float) -> list[Action]:  # noqa: C901, PLR0911, PLR0912 a flat dispatch
        """Handle the report of an action, unless a later action has made it obsolete."""
        self.note(event, now)
        match self.state, event:
            case State.FETCHING, events.Described(attempt=self.attempt):
                return self._describe(event)
            case State.FETCHING, events.Fetched(attempt=self.attempt):
                return self._fetched(event, now)
            case State.FETCHING, events.FetchFailed(attempt=self.attempt):
                return self._fetch_failed(event, now)
            case State.STARTING, events.Healthy(generation=self.generation):
                return self._ready(event, now)
            case State.FALLING_ASLEEP, events.Asleep(generation=self.generation):
                return self._asleep(event, now)
            case State.WAKING, events.Awake(generation=self.generation):
                return self._awake(now)
            case (
                State.FALLING_ASLEEP | State.ASLEEP | State.WAKING,
                events.Crashed(generation=self.generation),
            ):
                return self._crashed_asleep(event, now)
            case State.STARTING, events.StartFailed(generation=self.generation):
                return self._start_failed(event, now)
            case State.READY | State.DRAINING, events.Responded(generation=self.generation):
                self.last_progress = now
                if self.trials.respond():
                    self.suspicion.trial_ended(now)
                self.probing = self.trials.unanswered > 0
                return self._grant(now)
            case State.READY | State.DRAINING, events.Crashed(generation=self.generation):
                return self._crashed(event, now)
            case State.STOPPING, events.Gone(generation=self.generation):
                return self._gone(now)
            case State.STOPPING, events.Stuck(generation=self.generation):
                self.stuck = True
                return [
                    actions.Alarm(f"The engine for {self.key} can't be killed.", leave=True)
                ]
        return self._report_standby(event, now) if self.standby else []

    def _report_standby(self, event: events.Report, now: float) -> list[Action]:
        standby = self.standby
        if standby is None or getattr(event, "generation", None) != standby.generation:
            return []
        if isinstance(event, events.Standing):
            self._took(Stage.PRESTART, now - standby.since)
            self.standby = replace(standby, stood_at=now)
            return []
        self.no_prestart = True  # an ordinary start will show the reason
        return self.dismiss("it ended before it was needed", now)

    def _ready(self, event: events.Healthy, now: float) -> list[Action]:
        stage = Stage.FROM_GATE if self.from_gate else Stage.START
        self._took(stage, now - self.process_since)
        self.track.up(stage, now - self.process_since, now - self.started_at, now)
        self._move(Cause.HEALTHY, now)
        self.no_prestart = False
        if event.taken is not None:
            self._correct_claim(event.taken)
        self.suspicion.started(now)
        return self._up(now)

    def _up(self, now: float) -> list[Action]:
        """The engine takes requests from now on, first those that waited for it."""
        self._end_turn()
        self.linger_until = None
        self.batch = next(reversed(self.queue.values())).age if self.queue else 0
        self.ready_at = self.last_used = self.last_progress = now
        self.answered = self.probing = False
        self.trials = Trials()
        return self._grant(now)

    def _correct_claim(self, taken: int) -> None:
        """Replace an estimated claim by the memory that the engine has actually taken."""
        if self.spec.memory is not None or self.plan is None or self.tokens is None:
            return
        self.excess = max(0, taken - self.claim)
        self.held = self.claim = max(taken, min(taken + memory.slack(self.plan), self.claim))
        if self.shrink is Shrink.NONE:
            self._history.measured(self.key, taken)

    def _asleep(self, event: events.Asleep, now: float) -> list[Action]:
        self._took(Stage.SLEEP, now - self.moved_at)
        self._move(Cause.SLEPT, now)
        self.loaded, self.held = False, min(event.left, self.claim)
        return []

    def _awake(self, now: float) -> list[Action]:
        took = now - self.moved_at
        self._took(Stage.WAKE, took)
        self.track.up(Stage.WAKE, took, took, now)
        self._move(Cause.AWAKE, now)
        return self._up(now)

    def _crashed_asleep(self, event: events.Crashed, now: float) -> list[Action]:
        """Handle a failure to sleep or to wake. No caller is to blame for it."""
        self.track.failed(FailureKind.CRASH, event.reason, now)
        self.no_sleep = True
        self._cool_down(now)
        told = actions.Tell(f"{self.key} crashed: {event.reason}")
        return [told, self._stop(Cause.CRASHED, now, event.reason)]

    def _start_failed(self, event: events.StartFailed, now: float) -> list[Action]:
        self.track.failed(FailureKind.START, event.reason, now)
        failed: list[Action] = []
        last = Shrink.HALF_THE_CACHE if self.alone else Shrink.WHOLE_DEVICE
        if event.out_of_memory and self.shrink < last:
            # Start again for the same requests, with less cache or with the whole device.
            self.shrink, self.shrunk_at = Shrink(self.shrink + 1), now
        else:
            self._cool_down(now, event)
            self.verify_files, self.shrink = True, Shrink.NONE
            failed = self.fail(rejections.did_not_start(self))
        return [*failed, self._stop(Cause.START_FAILED, now, event.reason)]

    def overrun(self, now: float) -> list[Action]:
        """End a start that has taken too long while another caller waits."""
        why = "others wait, and it took too long"
        self.track.failed(FailureKind.START, why, now)
        self._cool_down(now)
        failed = self.fail(rejections.start_too_long(self))
        return [*failed, self._stop(Cause.START_FAILED, now, why)]

    def _crashed(self, event: events.Crashed, now: float) -> list[Action]:
        self.track.failed(FailureKind.CRASH, event.reason, now)
        verdict, told = self._judge_crash(event.reason, now)
        if verdict.alone or not verdict.suspects:  # a cool-down hurts no innocent caller
            self._cool_down(now)
            self.cools_for = verdict.author
        done = [*told, self._stop(Cause.CRASHED, now, event.reason), *self._refuse_barred(now)]
        if self.retry_at - now > SHORT_COOL_DOWN:
            done += self.fail(rejections.cooling_down(self, now))
        return done

    def _gone(self, now: float) -> list[Action]:
        verify, self.verify_files = self.verify_files, False
        self._took(Stage.STOP, now - self.moved_at)
        self.loaded, self.held, self.excess = False, 0, 0
        self._move(Cause.VERIFY_FILES if verify else Cause.GONE, now)
        return [self._begin_fetch(now)] if verify and self.queue else []

    def tick(self, now: float, forecast: Forecast | None) -> list[Action]:
        """Do what is due by now. `forecast` is for requests whose deadline has passed; None if
        there are none."""
        done = self._refuse_late(forecast, now) if forecast else []
        if self.linger_until is not None and now >= self.linger_until:
            done += self.abandon(now)
        elif self.drain_deadline is not None and now >= self.drain_deadline:
            done.append(self._stop(Cause.DRAIN_TIMEOUT, now))
        elif now >= self.trial_ends_at:
            done += self._grant(now)
        elif now >= self.stalls_at(self._limits.stall_timeout):
            done += self.probe()
        return done

    def _refuse_late(self, forecast: Forecast, now: float) -> list[Action]:
        """Fail all requests whose deadline has passed, before others get their places."""
        late = self.queue.overdue(now)
        for waiter in late:
            del self.queue[waiter]
        error = rejections.too_late(forecast, self._limits.fetch_linger)
        failed: list[Action] = [actions.Fail(one, error) for one in late]
        return failed + self._fewer_wait(now) if late else failed

    def shut_down(self, deadline: float, now: float) -> list[Action]:
        """Fail waiting requests and stop the engine: now if it is idle, else by `deadline`."""
        failed = [*self.fail(rejections.shutting_down()), *self.dismiss("shutdown", now)]
        if self.state is State.FETCHING:
            return [*failed, *self._cancel_fetch(Cause.SHUT_DOWN, now)]
        if self.state in _ENDS_AT_ONCE or (self.running and self.idle):
            return [*failed, self._stop(Cause.SHUT_DOWN, now)]
        if self.running:
            self.drain(now)
            self.drain_deadline = min(deadline, self.drain_deadline or deadline)
        return failed
