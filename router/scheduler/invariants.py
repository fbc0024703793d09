"""Checks that hold after every event. The numbers refer to the list of invariants in the
design.

* 5: Requests are in flight only in READY and DRAINING, so none outlives its engine. A ready
  engine that can take a request keeps none waiting, unless it is under suspicion: then a timer
  or a probe ends the trial that the request waits for.
* 6: Claims never exceed the budget of any device, and one engine at a time starts there.
* Engines are not loaded together against group rules, unless they are pinned.
* 7: A model has one slot, and a request has one place.
* 8: A waiting request has a deadline, and a timer is set for it.
* 11: The queue is bounded, in total and per caller.
* After a shutdown, no request waits and no engine takes new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from math import inf

from router.models import EngineKey
from router.scheduler.group_rules import LoadedGroups, stays
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot
from router.scheduler.waiting import QueuePlaces

_ENDED_BY_SHUTDOWN = frozenset(State) - {
    *(State.COLD, State.FETCHED, State.DRAINING, State.STOPPING)
}


class InvariantViolation(Exception):
    """A defect of the scheduler. The message names the broken invariant and the engine."""


@dataclass(frozen=True, slots=True)
class SchedulerView:
    """Everything that the scheduler knows, after one event."""

    slots: Mapping[EngineKey, Slot]
    index: SlotIndex
    holders: Mapping[int, Slot]  # by waiter
    limits: Limits
    _: KW_ONLY
    settled: bool  # no request waits, and no engine drains
    shutting_down: bool
    places: QueuePlaces
    wake_at: float
    now: float


def check(known: SchedulerView) -> None:
    """Raise `InvariantViolation` unless every invariant holds."""
    for key, slot in known.slots.items():
        for broken in (
            *_requests(key, slot, known),
            *_trials(slot, known),
            *_engine(slot, known),
            *_unloaded(slot, known),
            *_shutdown(slot, known),
        ):
            story = "\n  ".join(slot.tell_story())
            raise InvariantViolation(f"{key} ({slot.state}): {broken}\n  {story}")
    for broken in (*_totals(known), *_queue(known), *known.index.differences(known.now)):
        raise InvariantViolation(broken)


def _requests(key: EngineKey, slot: Slot, known: SchedulerView) -> Iterator[str]:
    if slot.key != key:
        yield "it is filed under another key"
    if any(known.holders.get(waiter) is not slot for waiter in (*slot.queue, *slot.leases)):
        yield "a request is filed under another engine, or under none"
    ages = [request.age for request in slot.queue.values()]
    if ages != sorted(ages):
        yield "a younger request is ahead of an older one"
    if slot.leases and not slot.running:
        yield "requests are in flight without an engine"
    yield from _in_flight(slot, known.limits)
    if slot.queue and slot.state is State.COLD:
        yield "a request waits, and nothing downloads its model"
    if slot.queue and known.shutting_down:
        yield "a request waits for a worker that is shutting down"
    if slot.leases.keys() != slot.since.keys():
        yield "the times of the leases are miscounted"


def _in_flight(slot: Slot, limits: Limits) -> Iterator[str]:
    if len(slot.leases) > max(slot.most(limits), slot.overbooked):
        yield "more requests are in flight than MAX_CONCURRENCY"
    most = limits.max_concurrency_per_caller
    callers = Counter(lease.caller for lease in slot.leases.values())
    if most is not None and max(callers.values(), default=0) > most:
        yield "more requests of one caller are in flight than MAX_CONCURRENCY_PER_CALLER"
    awaits_trial = slot.probing or slot.trial_ends_at < inf
    if any(slot.accepts(one, limits) for one in slot.queue.callers) and not awaits_trial:
        yield "a request waits for an engine that could take it"
    if slot.turns.differs():
        yield "a place would go to a caller whose turn it is not"


def _trials(slot: Slot, known: SchedulerView) -> Iterator[str]:
    if slot.trial_ends_at < inf and not (slot.queue and slot.state is State.READY):
        yield "a trial ends, and no request waits for that"
    present = (*slot.queue.values(), *slot.leases.values())
    if any(
        slot.suspicion.barred_for(caller, present, known.now) for caller in slot.queue.callers
    ):
        yield "a request of a quarantined caller waits"


def _engine(slot: Slot, known: SchedulerView) -> Iterator[str]:
    unwanted = slot.state in (State.FETCHING, State.STARTING) and not slot.queue
    if slot.linger_until is not None and not unwanted:
        yield "a download or start lingers that is wanted, or has ended"
    pinned = slot.pinned and slot.state is State.STARTING
    if unwanted and slot.linger_until is None and not pinned:
        yield "a download or start has no deadline, and no request waits for it"
    if slot.state not in (State.COLD, State.FETCHING) and not slot.snapshot.parts:
        yield "it has no snapshot"
    told = known.shutting_down or slot.unloads
    if slot.state is State.DRAINING and slot.pinned and not told:
        yield "a pinned engine drains to make room"
    if slot.held and not slot.state.claims:
        yield "memory is held for no engine"
    described = slot.state is State.FETCHING and slot.described
    if slot.standby is not None and not (described or slot.state is State.FETCHED):
        yield "a process stands by without the files that it needs, or beside its engine"
    if slot.drain_deadline is not None and slot.state is not State.DRAINING:
        yield "a drain deadline without a drain"
    if slot.due_at(known.limits, known.now) < known.wake_at:
        yield "no timer is set for what is due next"


def _unloaded(slot: Slot, known: SchedulerView) -> Iterator[str]:
    gone = slot.unloads and slot.state is State.DRAINING and slot.idle
    may_go = known.index.loading.isdisjoint(slot.devices) and not known.shutting_down
    if gone and may_go:
        yield "it is idle, and stays though the operator has unloaded it"
    if slot.unloads and slot.state in (State.STARTING, State.READY, State.WAKING):
        yield "it takes requests, though the operator has unloaded it"


def _shutdown(slot: Slot, known: SchedulerView) -> Iterator[str]:
    if known.shutting_down and slot.state in _ENDED_BY_SHUTDOWN:
        yield "the shutdown has missed it"
    if known.shutting_down and slot.state is State.DRAINING and slot.idle:
        yield "it drains, and no request is in flight"


def _totals(known: SchedulerView) -> Iterator[str]:
    slots, limits = known.slots.values(), known.limits
    yield from _devices(known)
    yield from _groups(known)
    if limits.max_loaded and sum(slot.loaded for slot in slots) > limits.max_loaded:
        yield "more engines are loaded than MAX_LOADED_MODELS"
    asleep = (State.FALLING_ASLEEP, State.ASLEEP)
    if sum(slot.weights for slot in slots if slot.state in asleep) > limits.sleep_memory:
        yield "the weights of engines that sleep exceed SLEEP_MEMORY"
    if sum(slot.standby is not None for slot in slots) > limits.standby:
        yield "more processes stand by than STANDBY_ENGINES"
    for numbers in ([s.generation for s in slots], [s.attempt for s in slots]):
        if max(Counter(filter(None, numbers)).values(), default=0) > 1:
            yield "two engines share a number"
    if known.settled and any(slot.queue or slot.state is State.DRAINING for slot in slots):
        yield "no plan is made, though a request waits or an engine drains"


def _groups(known: SchedulerView) -> Iterator[str]:
    loaded = [slot for slot in known.slots.values() if stays(slot)]
    if all(slot.spec.group is None for slot in loaded):
        return
    for slot in loaded:
        bar = LoadedGroups.of(one for one in loaded if one is not slot).bar(slot.spec.group)
        if bar is not None and not slot.pinned:
            yield f"{slot.key} is loaded beside others, against the group {bar.name}"


def _devices(known: SchedulerView) -> Iterator[str]:
    limits = known.limits
    claims, loading = Counter[int](), Counter[int]()
    for slot in known.slots.values():
        loads = slot.state in (State.STARTING, State.WAKING)
        for device in slot.devices:
            claims[device] += slot.held - slot.excess
            loading[device] += loads
        if slot.state.claims and len(slot.devices) != slot.span:
            yield f"{slot.key} has other devices than it needs"
    if any(size > limits.budget for size in claims.values()):
        yield "the claims exceed the budget"
    if max(loading.values(), default=0) > 1:
        yield "two engines start at once"
    if any(not 0 <= device < limits.devices for device in claims):
        yield "an engine has a device that is not there"


def _queue(known: SchedulerView) -> Iterator[str]:
    limits = known.limits
    queued = [request for slot in known.slots.values() for request in slot.queue.values()]
    if known.places.taken != len(queued):
        yield "the places in the queue are miscounted"
    # A retried request keeps its place, no matter what the limits are.
    callers = Counter(request.caller for request in queued if not request.retried)
    if callers.total() > limits.max_queue:
        yield "more requests wait than MAX_QUEUE"
    callers.pop(None, None)
    most = max(callers.values(), default=0)
    if limits.max_queue_per_caller is not None and most > limits.max_queue_per_caller:
        yield "more requests of one caller wait than MAX_QUEUE_PER_CALLER"
