"""The one synchronous pass: event -> advance -> plan -> actions.

Knows no asyncio, process, network or wall clock. `handle` is the only way in; a stale
report (of an earlier generation or download) changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.errors import RouterError
from router.models import EngineKey
from router.scheduler import rejections
from router.scheduler.actions import Action, Alarm, Fail, Measure, Probe
from router.scheduler.books import Books
from router.scheduler.events import (
    Crashed,
    Downloaded,
    Event,
    Fetched,
    FetchFailed,
    FilesRemoved,
    Gone,
    Healthy,
    Left,
    Measured,
    Released,
    Responded,
    ShutDown,
    StartFailed,
    Stuck,
    Thawed,
    Tick,
    Wanted,
)
from router.scheduler.lifecycle import Cause, State
from router.scheduler.planner import Plan, expires_at, plan, unfit
from router.scheduler.quotas import Quotas
from router.scheduler.slots import Limits, Slot

PATIENCE = 1.0  # seconds: a cool-down this short is waited out, a longer one refused
REMEASURE = 1.0  # seconds until free memory that was too little is looked at again

_RUNNING = (State.READY, State.DRAINING)


class Machine:
    """All state of the pool, and what each event does to it."""

    def __init__(self, limits: Limits) -> None:
        self.leaving = False
        self._limits = limits
        self._books = Books(limits)
        self._quotas = Quotas(limits, self._books.slots)
        self._replan_at: float | None = None  # when time alone changes the plan

    @property
    def slots(self) -> dict[EngineKey, Slot]:
        return self._books.slots

    @property
    def empty(self) -> bool:
        """No process is left or on its way, but for one that can't be killed."""
        return not any(
            (slot.state.claims and not slot.stuck) or slot.state is State.FETCHING
            for slot in self.slots.values()
        )

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in one event, and return what is to be done because of it, in order."""
        books = self._books
        books.orders = []
        self._advance(event, now)
        if isinstance(event, Wanted | Released) and books.calm:
            return books.orders  # the usual request, to an engine that is ready
        if not self.leaving:
            self._follow(self._plan(event, now), now)
        books.sweep(now)
        return books.orders

    def _advance(self, event: Event, now: float) -> None:  # noqa: C901, PLR0912  a flat dispatch
        match event:
            case Wanted():
                self._wanted(event, now)
            case Left(waiter):
                if not self._books.dequeue(waiter, now):
                    self._released(waiter, now, answered=False)
            case Released(waiter, answered):
                self._released(waiter, now, answered=answered)
            case Fetched() | FetchFailed():
                slot = self.slots.get(event.key)
                if slot and slot.state is State.FETCHING and slot.attempt == event.attempt:
                    self._fetch_ended(slot, event)
            case Healthy() | StartFailed() | Responded() | Crashed() | Gone() | Stuck():
                slot = self.slots.get(event.key)
                if slot and slot.generation == event.generation:
                    self._reported(slot, event, now)
            case ShutDown(deadline):
                self._shut_down(deadline)
            case Thawed():
                for slot in self.slots.values():
                    if slot.state in _RUNNING:
                        self._probe(slot)
            case Tick():
                self._tick(now)
            case Downloaded(caller, size):
                self._quotas.downloaded(caller, size, now)
            case FilesRemoved(repo_id, commit):
                self._books.forget_snapshot(repo_id, commit)
            case Measured():
                pass  # for the plan of this pass

    # --- callers ---------------------------------------------------------------

    def _wanted(self, event: Wanted, now: float) -> None:
        slot = self._books.slot(event)
        if error := self._refusal(slot, event, now):
            self._books.orders.append(Fail(event.waiter, error))
            return
        self._quotas.charge(slot, event, now)
        self._books.enqueue(slot, event)
        if slot.state is State.COLD:
            self._books.want(slot)
        elif slot.state is State.READY:
            self._books.grant(slot, now)

    def _refusal(self, slot: Slot, event: Wanted, now: float) -> RouterError | None:
        if self.leaving:
            return rejections.leaving()
        if slot.retry_at - now > PATIENCE:
            return rejections.cooling(slot, now)
        if slot.state is State.FETCHING and (error := slot.refused.get(event.payer)):
            return error
        if not slot.state.claims and (error := self._unfit(slot)):
            return error
        served = slot.state is State.READY and len(slot.leases) < self._limits.max_concurrency
        had_a_place = event.age != event.waiter
        full = self._books.queued >= self._limits.max_queue
        if full and not served and not had_a_place:
            return rejections.queue_full()
        return None if had_a_place else self._quotas.refusal(slot, event, now, served=served)

    def _unfit(self, slot: Slot) -> RouterError | None:
        return unfit(slot, self.slots.values(), self._limits, self._books.written_off)

    def _released(self, waiter: int, now: float, *, answered: bool) -> None:
        slot = self._books.release(waiter, now)
        if slot is None:
            return
        if answered:
            slot.answered, slot.last_progress = True, now
            slot.failures, slot.retry_at, slot.last_failure = 0, 0.0, ""
        if slot.state is State.READY:
            self._books.grant(slot, now)
        elif slot.idle and slot.drain_deadline is not None:
            self._books.stop(slot, Cause.DRAINED, "drained")

    # --- downloads -------------------------------------------------------------

    def _fetch_ended(self, slot: Slot, event: Fetched | FetchFailed) -> None:
        if isinstance(event, Fetched):
            slot.move(Cause.VERIFIED)
            slot.snapshot, slot.linger_until = event.snapshot, None
            return
        if event.blames_credential:
            slot.refused[slot.paying] = event.error
            self._books.fail(slot, event.error, payer=slot.paying)
            for waiter in slot.by_age:
                if waiter.payer not in slot.refused:
                    self._books.fetch(slot, waiter)
                    return
        slot.move(Cause.FETCH_FAILED)
        slot.linger_until = None
        self._books.fail(slot, event.error)

    # --- engines ---------------------------------------------------------------

    def _reported(
        self,
        slot: Slot,
        event: Healthy | StartFailed | Responded | Crashed | Gone | Stuck,
        now: float,
    ) -> None:
        match event:
            case Healthy() if slot.state is State.STARTING:
                self._books.ready(slot, now)
            case StartFailed() if slot.state is State.STARTING:
                self._start_failed(slot, event, now)
            case Responded() if slot.state in _RUNNING:
                slot.last_progress, slot.probing = now, False
            case Crashed() if slot.state in _RUNNING:
                slot.failed(event.reason, now)
                self._books.stop(slot, Cause.CRASHED, f"crashed: {event.reason}")
                if slot.retry_at - now > PATIENCE:
                    self._books.fail(slot, rejections.cooling(slot, now))
            case Gone() if slot.state is State.STOPPING:
                if event.missing > self._books.written_off:
                    self._alarm(f"{event.missing} bytes of accelerator memory are missing.")
                self._books.gone(slot, event.missing)
            case Stuck() if slot.state is State.STOPPING:
                slot.stuck = True
                self._alarm(f"The engine for {slot.key} can't be killed.", leave=True)
            case _:
                pass  # overtaken by a stop

    def _start_failed(self, slot: Slot, event: StartFailed, now: float) -> None:
        if event.out_of_memory and not slot.smaller:
            slot.smaller = True
        else:
            slot.failed(event.reason, now)
            slot.verify_files = True
            self._books.fail(slot, rejections.did_not_start(slot))
        self._books.stop(slot, Cause.START_FAILED, f"did not start: {event.reason}")

    def _alarm(self, message: str, *, leave: bool = False) -> None:
        self._books.orders.append(Alarm(message, leave))

    def _shut_down(self, deadline: float) -> None:
        self.leaving, self._replan_at = True, None
        for slot in self.slots.values():
            self._books.fail(slot, rejections.leaving())
            if slot.state is State.FETCHING:
                self._books.abandon_fetch(slot)
            elif slot.state is State.STARTING:
                self._books.stop(slot, Cause.ABANDONED, "shutdown")
            elif slot.state in _RUNNING and slot.idle:
                ready = slot.state is State.READY
                cause = Cause.EVICTED if ready else Cause.DRAINED
                self._books.stop(slot, cause, "shutdown")
            elif slot.state in _RUNNING:
                if slot.state is State.READY:
                    slot.move(Cause.RETIRED_BUSY)
                slot.drain_deadline = min(deadline, slot.drain_deadline or deadline)

    # --- time ------------------------------------------------------------------

    def wake_at(self, now: float) -> float | None:
        """When a `Tick` is due; None: only an event can change anything."""
        return min(self._timers(now), default=None)

    def _tick(self, now: float) -> None:
        for slot in self.slots.values():
            for waiter in slot.by_age:
                if now >= waiter.deadline and self._books.dequeue(waiter.id, now):
                    self._books.orders.append(Fail(waiter.id, rejections.too_late(slot)))
            if slot.linger_until is not None and now >= slot.linger_until:
                self._books.abandon_fetch(slot)
            elif slot.drain_deadline is not None and now >= slot.drain_deadline:
                self._books.stop(slot, Cause.EXPIRED, "drain deadline")
            elif now >= self._stalls_at(slot):
                self._probe(slot)

    def _probe(self, slot: Slot) -> None:
        slot.probing = True
        self._books.orders.append(Probe(slot.key, slot.generation))

    def _stalls_at(self, slot: Slot) -> float:
        busy = slot.leases and not slot.probing
        return slot.last_progress + self._limits.stall_timeout if busy else float("inf")

    def _timers(self, now: float) -> Iterator[float]:
        if self._replan_at is not None:
            yield self._replan_at
        for slot in self.slots.values():
            yield from (waiter.deadline for waiter in slot.queue.values())
            if slot.queue and slot.state is State.FETCHED and slot.retry_at > now:
                yield slot.retry_at
            if slot.leases and not slot.probing:
                yield self._stalls_at(slot)
            yield from (at for at in (slot.linger_until, slot.drain_deadline) if at is not None)
            expires = expires_at(slot)
            if expires is not None and expires > now and not self.leaving:
                yield expires

    # --- plan ------------------------------------------------------------------

    def _plan(self, event: Event, now: float) -> Plan:
        free = event.free if isinstance(event, Measured) else None
        books = self._books
        decided = plan(self.slots.values(), self._limits, books.written_off, free, now)
        self._replan_at = decided.wake_at
        if free is not None and decided.start is None and books.queued:
            self._replan_at = min(decided.wake_at or now + REMEASURE, now + REMEASURE)
        return decided

    def _follow(self, decided: Plan, now: float) -> None:
        books = self._books
        if decided.measure:
            books.orders.append(Measure())
        for slot, error in decided.refuse:
            books.fail(slot, error)
        if decided.drain is not None:
            self._redrain(decided.drain, decided.evict, now)
        if decided.start:
            books.start(decided.start, decided.free)
        for leaver, why in ((decided.evict, "evicted"), (decided.expire, "expired")):
            if leaver is not None:
                ready = leaver.state is State.READY
                books.stop(leaver, Cause.EVICTED if ready else Cause.DRAINED, why)

    def _redrain(self, drain: tuple[Slot, ...], evict: Slot | None, now: float) -> None:
        """Make those drain that the plan names, and call back the others."""
        for slot in self.slots.values():
            if slot in drain and slot.state is State.READY:
                slot.move(Cause.RETIRED_BUSY)
            elif slot.state is State.DRAINING and slot is not evict and slot not in drain:
                slot.move(Cause.REVIVED)
                self._books.grant(slot, now)
