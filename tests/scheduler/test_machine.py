"""Thousands of random lives of the pool. After every event, all invariants must hold."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from router.errors import HubUnavailable, ModelGated, NoRoom, QueueFull, RouterError
from router.models import EngineKey, EngineSpec, MemoryPlan, ModelGroup
from router.scheduler import actions, events
from router.scheduler.fairness import StartSeconds, gives_way_at
from router.scheduler.history import Fact, History, Stage
from router.scheduler.lifecycle import State
from router.scheduler.limits import Eviction, Limits
from router.scheduler.machine import Scheduler
from router.scheduler.slot_index import SlotIndex
from router.scheduler.trace import Journal, replay
from router.scheduler.view import View
from tests.pool.fakes import GIB, spec

BUDGET = 12 * GIB
AHEAD = ("launching", "standing", "ending")  # at most up to the gate
UP = ("ready", "falling asleep", "asleep", "waking")
HUGE = spec("planned-huge")  # more than a device has, according to its small files
PAIR = spec("planned-pair")  # spans two devices, where there are two
SPECS = (
    spec("unknown-1"),
    spec("unknown-2"),
    spec("small", memory=3 * GIB),
    spec("medium", memory=5 * GIB, idle_ttl=40.0),
    spec("large", memory=9 * GIB),
    spec("pinned", memory=4 * GIB, pinned=True),
    spec("planned-1"),
    spec("planned-2"),
    HUGE,
    PAIR,
)
LEFT = GIB // 2  # bytes that an engine holds while it sleeps
ONE, TWO = ModelGroup("one"), ModelGroup("two", max_loaded=2)
ALONE, APART = (
    ModelGroup("alone", exclusive=True),
    ModelGroup("apart", max_loaded=2, exclusive=True),
)
# By a model's number in `SPECS`: its group, as an operator might set it.
GROUPINGS: tuple[dict[int, ModelGroup], ...] = (
    {},
    {0: ONE, 1: ONE, 2: ONE, 6: ONE},
    {0: ALONE, 6: ALONE, 1: TWO, 2: TWO, 7: TWO},
    {2: APART, 3: APART, 6: APART, 0: ONE, 5: ONE},
    dict.fromkeys(range(len(SPECS)), ONE),
)


def plan_of(key: EngineKey, devices: int = 1) -> MemoryPlan | None:
    """3 GiB, or 3.6 with the margin: the budget holds three such engines."""
    if "planned" not in key.repo_id:
        return None
    weights = (13 if key == HUGE.key else 2) * GIB
    span = min(devices, 2 if key == PAIR.key else 1)
    return MemoryPlan(weights, token=GIB >> 15, overhead=0, context=1 << 16, devices=span)


def described(key: EngineKey, attempt: int, devices: int = 1) -> events.Described:
    plan = plan_of(key, devices)
    if plan is not None:  # the headers of the weights, which come later, say less
        plan = replace(plan, weights=plan.weights + (1 << 20))
    return events.Described(key, attempt, Path("/s"), plan)


def fetched(key: EngineKey, attempt: int, devices: int = 1) -> events.Fetched:
    return events.Fetched(key, attempt, Path("/s"), 2 * GIB, plan_of(key, devices))


@dataclass
class Request:
    spec: EngineSpec
    caller: str | None = None
    state: str = "waiting"  # granted, failed, gone, done, cut
    generation: int = 0
    granted_in: int = 0  # the pass
    error: RouterError | None = None

    @property
    def in_flight(self) -> bool:
        return self.state == "granted"


@dataclass
class Process:
    action: actions.Start | actions.Prestart
    # launching, standing, ending, starting, ready, falling asleep, asleep, waking, stopping
    state: str = "starting"
    dead: bool = False
    slept: bool = False  # told to stop while asleep: its memory was returned before
    taken: int | None = None  # bytes, as measured

    @property
    def held(self) -> int:
        if self.dead or self.state in AHEAD:
            return 0
        if self.state == "asleep":
            return LEFT
        return self.action.allotment.claim if self.taken is None else self.taken

    @property
    def devices(self) -> tuple[int, ...]:
        return self.action.allotment.devices

    def overlaps(self, devices: tuple[int, ...]) -> bool:
        return not set(self.devices).isdisjoint(devices)

    @property
    def still(self) -> bool:
        """Whether its memory does not change."""
        return self.state in (*AHEAD, "ready", "asleep")


@dataclass
class SchedulerHarness:
    """Everything around the scheduler. It performs actions, and checks each of them."""

    limits: Limits
    scheduler: Scheduler = field(init=False)
    now: float = 100.0
    requests: dict[int, Request] = field(default_factory=dict)
    fetches: dict[EngineKey, actions.Fetch] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)
    described: set[int] = field(default_factory=set)  # attempts with the small files on disk
    probes: list[actions.Probe] = field(default_factory=list)
    leaked: list[int] = field(init=False)  # by device; the reports say the same
    outsiders: int = 0  # on each device
    specs: dict[EngineKey, EngineSpec] = field(default_factory=dict)  # the operator's specs
    journal: io.StringIO = field(default_factory=io.StringIO)
    history: list[list[actions.Action]] = field(default_factory=list)
    alive_in: dict[int, int] = field(default_factory=dict)  # the pass of an answered probe

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.limits)
        self.leaked = [0] * self.limits.devices
        self.record = Journal(self.journal, self.limits)
        self.specs.update((one.key, one) for one in SPECS)

    def tell(self, event: events.Event) -> None:
        self.record(self.now, event)
        done = self.scheduler.handle(event, self.now)
        self.history.append(done)
        self.scheduler.validate()
        self.check_forecasts()
        for action in done:
            self.perform(action)
        self.check_starts()

    def perform(self, action: actions.Action) -> None:  # noqa: C901  a flat dispatch
        match action:
            case actions.Grant():
                self.check_grant(action)
            case actions.Fail(waiter, error):
                request = self.requests[waiter]
                assert request.state == "waiting", "failed twice, or after a grant"
                self.check_refusal(waiter, error)
                request.state, request.error = "failed", error
            case actions.Fetch():
                assert action.spec.key not in self.fetches, "two downloads of one model"
                self.fetches[action.spec.key] = action
            case actions.CancelFetch(key, attempt):
                assert self.fetches.pop(key).attempt == attempt
                self.check_none_stands_by(key)
            case actions.Measure():
                first, *others = map(self.free_on, range(self.limits.devices))
                self.tell(events.Measured(first, tuple(others)))
            case actions.Prestart():
                assert action.generation not in self.processes
                self.check_prestart(action)
                self.processes[action.generation] = Process(action, "launching")
            case actions.Start():
                self.check_start(action)
                self.processes[action.generation] = Process(action)
            case actions.Sleep(_, generation):
                self.check_sleep(generation)
                self.processes[generation].state = "falling asleep"
            case actions.Wake(_, generation):
                assert self.processes[generation].state == "asleep", "woken twice"
                self.check_groups(action.key)
                self.check_still(self.processes[generation].devices)
                self.processes[generation].state = "waking"
            case actions.Stop(key, generation, why, _):
                self.check_stop(key, generation, why)
            case actions.Probe():
                self.probes.append(action)
            case actions.Alarm(message, leave):
                assert not leave, message

    def free_on(self, device: int) -> int:
        held = sum(p.held for p in self.processes.values() if device in p.devices)
        return max(0, BUDGET - held - self.leaked[device] - self.outsiders)

    def free(self, devices: tuple[int, ...]) -> int:
        """The free bytes on the fullest of these."""
        return min(map(self.free_on, devices))

    def leak(self, process: Process, missing: int) -> None:
        for device in process.devices:
            self.leaked[device] = missing

    def check_still(self, devices: tuple[int, ...]) -> None:
        on_these = (p for p in self.processes.values() if p.overlaps(devices))
        assert all(process.still for process in on_these), "memory in flux"

    def check_grant(self, action: actions.Grant) -> None:
        waiter, key, generation = action.waiter, action.key, action.generation
        request = self.requests[waiter]
        assert request.state == "waiting", "granted twice, or after a failure"
        assert request.spec.key == key
        assert self.processes[generation].state == "ready", "granted too early"
        assert self.processes[generation].action.spec.key == key
        if self.scheduler.slots[key].suspicion.active(self.now):
            self.check_trial(request.caller, generation)
        else:
            self.check_turn(waiter)
        request.state, request.generation = "granted", generation
        request.granted_in = len(self.history)

    def check_trial(self, caller: str | None, generation: int) -> None:
        """Check that no other caller has a request in flight that might kill the engine."""
        for other in self.requests.values():
            mixed = other.in_flight and other.generation == generation
            if mixed and None not in (caller, other.caller) and caller != other.caller:
                alive_in = self.alive_in.get(generation, 0)
                assert other.granted_in <= alive_in, "two callers on trial"

    def check_turn(self, waiter: int) -> None:
        """Callers with fewer requests in flight come first; for each caller, the oldest
        request."""
        key = self.requests[waiter].spec.key
        of_engine = {n: r for n, r in self.requests.items() if r.spec.key == key}
        held = Counter(r.caller for r in of_engine.values() if r.in_flight)
        most = self.limits.max_concurrency_per_caller or 1000
        caller = of_engine[waiter].caller
        assert held[caller] < most, "more than one caller may have"
        for number, other in of_engine.items():
            if other.state == "waiting" and held[other.caller] < most:
                assert held[caller] <= held[other.caller], "out of turn"
                assert other.caller != caller or waiter <= number, "out of turn"

    def check_refusal(self, waiter: int, error: RouterError) -> None:
        """If all places are taken, a new request is refused, or takes a place of the caller
        with the most."""
        if not isinstance(error, QueueFull):
            return
        waiting = {n: r.caller for n, r in self.requests.items() if r.state == "waiting"}
        newest = max(waiting)
        key = self.requests[newest].spec.key
        line = {n: who for n, who in waiting.items() if self.requests[n].spec.key == key}
        if len(line) > (self.specs[key].max_queue or 1000):
            waiting = line
        caller = waiting[waiter]
        newcomer = waiting.pop(newest)
        held = Counter(waiting.values())
        own = held[newcomer]
        del held[None]
        most = max(held.values(), default=0)
        if waiter == newest:
            assert most < own + 2, "refused, though another caller has more places"
        else:
            assert held[caller] == most >= own + 2, "a place was taken from the wrong caller"
            assert waiter == max(n for n, one in waiting.items() if one == caller)

    def check_forecasts(self) -> None:
        """Every state has a forecast, and it never says that no time is left."""
        for key in self.scheduler.slots:
            forecast = self.scheduler.forecast(key, self.now)
            for seconds in (forecast.seconds, forecast.room_in):
                assert seconds is None or 1 <= seconds < inf, f"{key}: {forecast!r}"

    def check_starts(self) -> None:
        """A start without waiters never delays a start with waiters, except for the moment in
        which its caller may come back."""
        slots = self.scheduler.slots.values()
        view = View(
            SlotIndex.of(slots, self.limits, self.now),
            self.limits,
            History(),
            StartSeconds(),
            self.now,
            self.leaked,
        )
        waiting = [slot for slot in view.in_turn() if not view.unfit(slot)]
        for slot in slots:
            others = [one for one in waiting if view.contends(one, slot)]
            if slot.state is State.STARTING and others and not (slot.queue or slot.pinned):
                ends_at = gives_way_at(slot, others, self.limits)
                assert self.now < ends_at <= self.now + self.limits.fetch_linger

    def check_start(self, action: actions.Start) -> None:
        ahead = self.processes.pop(action.generation, None)
        if ahead is not None:
            assert ahead.state in ("launching", "standing"), "started twice"
            self.check_flags(ahead.action.allotment, action.allotment)
        devices = action.allotment.devices
        self.check_still(devices)
        engines = [p for p in self.processes.values() if p.held]
        assert action.spec.key not in {p.action.spec.key for p in engines}
        self.check_groups(action.spec.key)
        claim = action.allotment.claim
        for device in devices:
            here = [p for p in engines if device in p.devices]
            claims = sum(min(p.held, p.action.allotment.claim) for p in here)
            assert claims + claim <= BUDGET - self.leaked[device], "over the budget"
        if action.spec.memory is not None:
            assert claim <= action.allotment.free == self.free(devices), "more than is free"

    def group_of(self, key: EngineKey) -> ModelGroup | None:
        return self.specs[key].group

    def others_loaded(self, key: EngineKey) -> list[ModelGroup | None]:
        """The groups of the other loaded models."""
        up = [p for p in self.processes.values() if p.state not in (*AHEAD, "asleep")]
        loaded = [p for p in up if not p.slept]
        keys = [p.action.spec.key for p in loaded]
        return [self.group_of(one) for one in keys if one != key]

    def check_groups(self, key: EngineKey) -> None:
        """An engine is only loaded together with those that both groups allow."""
        group = self.group_of(key)
        others = self.others_loaded(key)
        for other in others:
            either = (group and group.exclusive) or (other and other.exclusive)
            assert group == other or not either, "loaded beside an exclusive group"
        if group is not None:
            assert others.count(group) < group.max_loaded, "more of a group than may be"

    def check_prestart(self, action: actions.Prestart) -> None:
        key = action.spec.key
        stays = [p for p in self.processes.values() if p.state in ("starting", "ready")]
        for one in stays:
            slot, group = self.scheduler.slots[one.action.spec.key], self.group_of(key)
            bar = ModelGroup.between(group, self.group_of(slot.key))
            assert slot.unloads or not bar, "prestarted beside an exclusive group"
        assert key != HUGE.key, "prestarted, though it never fits"
        if fetch := self.fetches.get(key):
            assert fetch.attempt in self.described, "prestarted without its files"
            waiting = {r.spec.key for r in self.requests.values() if r.state == "waiting"}
            assert key in waiting, "prestarted, though nobody waits"

    def check_none_stands_by(self, key: EngineKey) -> None:
        """Its files may be removed."""
        for process in self.processes.values():
            ahead = process.state in ("launching", "standing")
            assert not (ahead and process.action.spec.key == key), "stands by without files"

    def describe(self, key: EngineKey) -> None:
        """The small files of a model are now on disk."""
        attempt = self.fetches[key].attempt
        self.described.add(attempt)
        self.tell(described(key, attempt, self.limits.devices))
        if key == HUGE.key:
            assert key not in self.fetches, "what never fits is downloaded"
            waiting = {r.spec.key for r in self.requests.values() if r.state == "waiting"}
            assert key not in waiting, "it waits for what never fits"

    def check_flags(self, before: actions.Allotment, now: actions.Allotment) -> None:
        """A running process's flags can't change."""
        same = replace(now, claim=before.claim, free=before.free)
        assert same == before, "a process goes on with the flags of another allotment"

    def check_sleep(self, generation: int) -> None:
        process = self.processes[generation]
        assert process.state == "ready"
        assert process.action.allotment.sleeps
        self.check_still(process.devices)
        users = [r for r in self.requests.values() if r.in_flight]
        assert generation not in {r.generation for r in users}, (
            "asleep with a request in flight"
        )

    def check_stop(self, key: EngineKey, generation: int, why: str) -> None:
        process = self.processes[generation]
        assert process.action.spec.key == key
        assert process.state != "stopping", "stopped twice"
        cut = [r for r in self.requests.values() if r.in_flight and r.generation == generation]
        if why in ("evicted", "expired", "drained", "shutdown", "unloaded"):
            assert not cut, f"{why} with requests in flight"
        if why == "abandoned":
            assert process.state == "starting"
            waiting = {r.spec.key for r in self.requests.values() if r.state == "waiting"}
            assert key not in waiting, "abandoned, though a request waits"
            assert not process.action.spec.pinned, "abandoned, though pinned"
        if why in ("evicted", "expired"):
            assert not process.action.spec.pinned, f"{why}, though pinned"
            assert not self.scheduler.slots[key].pin, f"{why}, though the operator pinned it"
        moves = process.state in ("starting", "falling asleep", "waking")
        if why in ("evicted", "expired") or (why == "unloaded" and not moves):
            self.check_still(process.devices)
        for request in cut:
            request.state = "cut"
        ahead = process.state in ("launching", "standing")
        process.slept = process.state == "asleep"
        process.state = "ending" if ahead else "stopping"

    def in_state(self, *states: str) -> list[int]:
        return [number for number, p in self.processes.items() if p.state in states]

    def of(self, *states: str) -> list[int]:
        return [number for number, r in self.requests.items() if r.state in states]


class PoolLife(RuleBasedStateMachine):
    @initialize(
        max_loaded=st.sampled_from([None, 1, 2]),
        max_queue=st.sampled_from([3, 100]),
        max_concurrency=st.sampled_from([1, 3]),
        patience=st.sampled_from([None, 0.0, 50.0]),
        standby=st.sampled_from([0, 0, 1, 2]),
        sleep_memory=st.sampled_from([0, 0, 4 * GIB, 20 * GIB]),
        whole_device=st.booleans(),
        eviction=st.sampled_from(Eviction),
        per_caller=st.sampled_from([None, None, 1, 2]),
        per_engine=st.sampled_from([None, None, 1, 2]),
        devices=st.sampled_from([1, 1, 2, 3]),
        groups=st.sampled_from(GROUPINGS),
    )
    def build(
        self,
        *,
        max_loaded: int | None,
        max_queue: int,
        max_concurrency: int,
        patience: float | None,
        standby: int,
        sleep_memory: int,
        whole_device: bool,
        eviction: Eviction,
        per_caller: int | None,
        per_engine: int | None,
        devices: int,
        groups: dict[int, ModelGroup],
    ) -> None:
        self.harness = SchedulerHarness(
            Limits(
                BUDGET,
                max_loaded,
                max_queue,
                max_concurrency,
                patience,
                eviction,
                whole_device,
                standby,
                sleep_memory=sleep_memory,
                max_downloads=1 if max_concurrency == 1 else 2,
                max_concurrency_per_caller=per_engine,
                max_queue_per_caller=per_caller,
                max_starts_per_caller=per_caller,
                max_models_per_caller=per_caller,
                max_download_per_caller=per_caller,
                devices=devices,
            )
        )
        self.old: list[events.Event] = []
        self.change_rules(groups, None, None)

    @rule(
        groups=st.sampled_from(GROUPINGS),
        places=st.sampled_from([None, None, 1, 2]),
        waiting=st.sampled_from([None, None, 1, 2]),
    )
    def change_rules(
        self, groups: dict[int, ModelGroup], places: int | None, waiting: int | None
    ) -> None:
        """Like an operator that reloads another models file."""
        for number, one in enumerate(SPECS):
            ruled = replace(one, group=groups.get(number))
            if number < len(SPECS) // 2:
                ruled = replace(ruled, max_concurrency=places, max_queue=waiting)
            self.harness.specs[one.key] = ruled
        self.harness.tell(events.Ruled(tuple(self.harness.specs.values())))

    @rule(
        which=st.sampled_from(SPECS),
        token=st.sampled_from("xyz"),
        patience=st.sampled_from([5.0, 1e6]),
        caller=st.sampled_from([None, "", "x", "y"]),
    )
    def request(
        self, which: EngineSpec, token: str, patience: float, caller: str | None
    ) -> None:
        harness = self.harness
        number = len(harness.requests) + 1
        ruled = harness.specs[which.key]
        harness.requests[number] = Request(ruled, caller)
        deadline = harness.now + patience
        harness.tell(events.Wanted(number, number, ruled, token, deadline, caller))

    @rule(caller=st.sampled_from("xy"))
    def download(self, caller: str) -> None:
        self.harness.tell(events.Downloaded(caller, 1))

    @rule(
        which=st.sampled_from(SPECS),
        says=st.sampled_from([events.Unload, events.Unload, events.Pin, events.Unpin]),
    )
    def operate(self, which: EngineSpec, says: Callable[[EngineKey], events.Event]) -> None:
        self.harness.tell(says(which.key))

    @rule(which=st.sampled_from(SPECS))
    def remove_files(self, which: EngineSpec) -> None:
        model = which.model
        self.harness.tell(events.ForgetSnapshot(model.repo_id, model.commit))

    @precondition(lambda self: self.harness.of("waiting", "granted"))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.harness.of("waiting", "granted")))
        self.harness.requests[number].state = "gone"
        self.harness.tell(events.Left(number))

    @precondition(lambda self: self.harness.of("granted", "cut"))
    @rule(data=st.data(), answered=st.booleans())
    def release(self, data: st.DataObject, *, answered: bool) -> None:
        number = data.draw(st.sampled_from(self.harness.of("granted", "cut")))
        self.harness.requests[number].state = "done"
        self.harness.tell(events.Released(number, answered))

    @precondition(lambda self: self.harness.fetches)
    @rule(data=st.data())
    def describe(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.harness.fetches, key=str)))
        attempt, devices = self.harness.fetches[key].attempt, self.harness.limits.devices
        self.old.append(described(key, attempt, devices))
        self.harness.describe(key)

    @precondition(lambda self: self.harness.fetches)
    @rule(data=st.data(), end=st.sampled_from(["ok", "ok", "refused", "failed"]))
    def end_fetch(self, data: st.DataObject, end: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.harness.fetches, key=str)))
        action = self.harness.fetches.pop(key)
        done = fetched(key, action.attempt, self.harness.limits.devices)
        self.old.append(done)
        if end == "ok":
            self.harness.tell(done)
        else:
            refused = end == "refused"
            error = ModelGated("no") if refused else HubUnavailable("down")
            self.harness.tell(events.FetchFailed(key, action.attempt, error, refused))
            self.harness.check_none_stands_by(key)

    @precondition(lambda self: self.harness.in_state("starting"))
    @rule(
        data=st.data(),
        end=st.sampled_from(["ok", "ok", "ok", "failed", "out of memory"]),
        share=st.sampled_from([None, 0.8, 1.0, 1.1]),
    )
    def end_start(self, data: st.DataObject, end: str, share: float | None) -> None:
        number = data.draw(st.sampled_from(self.harness.in_state("starting")))
        process = self.harness.processes[number]
        key = process.action.spec.key
        self.old.append(events.Healthy(key, number))
        if end == "ok":
            process.state = "ready"
            taken = share and int(process.action.allotment.claim * share)
            if "planned" in key.repo_id and process.action.allotment.tokens and taken:
                process.taken = min(taken, self.harness.free(process.devices) + process.held)
            self.harness.tell(events.Healthy(key, number, process.taken))
        else:
            process.dead = True
            self.harness.tell(events.StartFailed(key, number, "exit 1", end == "out of memory"))

    @precondition(lambda self: self.harness.in_state("launching"))
    @rule(data=st.data())
    def reach_the_gate(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.harness.in_state("launching")))
        process = self.harness.processes[number]
        process.state = "standing"
        self.harness.tell(events.Standing(process.action.spec.key, number))

    @precondition(lambda self: self.harness.in_state("launching", "standing"))
    @rule(data=st.data())
    def end_at_the_gate(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.harness.in_state("launching", "standing")))
        key = self.harness.processes[number].action.spec.key
        self.harness.tell(events.StartFailed(key, number, "exit 1", out_of_memory=False))

    @precondition(lambda self: self.harness.in_state("falling asleep"))
    @rule(data=st.data(), missing=st.sampled_from([0, 0, GIB]))
    def fall_asleep(self, data: st.DataObject, missing: int) -> None:
        number = data.draw(st.sampled_from(self.harness.in_state("falling asleep")))
        self._asleep(number, missing)

    def _asleep(self, number: int, missing: int) -> None:
        process = self.harness.processes[number]
        process.state = "asleep"
        self.harness.leak(process, missing)
        self.harness.tell(events.Asleep(process.action.spec.key, number, missing, LEFT))

    @precondition(lambda self: self.harness.in_state("waking"))
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        self._awake(data.draw(st.sampled_from(self.harness.in_state("waking"))))

    def _awake(self, number: int) -> None:
        process = self.harness.processes[number]
        process.state = "ready"
        self.harness.tell(events.Awake(process.action.spec.key, number))

    @precondition(lambda self: self.harness.in_state(*UP))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.harness.in_state(*UP)))
        process = self.harness.processes[number]
        process.dead = True
        event = events.Crashed(process.action.spec.key, number, "killed")
        self.old.append(event)
        self.harness.tell(event)

    @rule(which=st.sampled_from(SPECS))
    def come_under_suspicion(self, which: EngineSpec) -> None:
        """Otherwise, an engine that two callers share would rarely crash."""
        for caller in "xy":
            self.request(which, "x", 1e6, caller)
        self.all_goes_well(25)
        for number in self.harness.in_state("ready"):
            process = self.harness.processes[number]
            if process.action.spec.key == which.key:
                process.dead = True
                self.harness.tell(events.Crashed(which.key, number, "killed"))
        for caller in "xxyy":
            self.request(which, "x", 1e6, caller)

    @precondition(lambda self: self.harness.in_state("stopping", "ending"))
    @rule(data=st.data(), missing=st.sampled_from([0, 0, 0, GIB]))
    def gone(self, data: st.DataObject, missing: int) -> None:
        harness = self.harness
        number = data.draw(st.sampled_from(harness.in_state("stopping", "ending")))
        process = harness.processes.pop(number)
        key = process.action.spec.key
        if process.state == "stopping":
            harness.leak(process, missing)
        event = events.Gone(key, number, missing)
        self.old.append(event)
        harness.tell(event)

    @precondition(lambda self: self.harness.probes)
    @rule(healthy=st.booleans())
    def answer_probe(self, *, healthy: bool) -> None:
        probe = self.harness.probes.pop()
        if healthy:
            self.harness.alive_in[probe.generation] = len(self.harness.history)
            self.harness.tell(events.Responded(probe.key, probe.generation))
        elif probe.generation in self.harness.processes:
            self.harness.tell(events.Crashed(probe.key, probe.generation, "stalled"))

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def repeat_an_old_report(self, data: st.DataObject) -> None:
        self.harness.tell(data.draw(st.sampled_from(self.old)))

    @rule(outsiders=st.sampled_from([0, 0, 4 * GIB, 11 * GIB]))
    def others_take_memory(self, outsiders: int) -> None:
        self.harness.outsiders = outsiders

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0, 400.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.harness.now += seconds
        self.harness.tell(events.Tick())

    @rule()
    def thaw(self) -> None:
        self.harness.tell(events.Thawed())

    @rule(seconds=st.floats(0, 1000), stage=st.sampled_from(Stage))
    def learn_from_another_worker(self, seconds: float, stage: Stage) -> None:
        self.harness.tell(events.Learned((Fact(stage.value, "of another", GIB, seconds),)))

    @rule(steps=st.integers(1, 25))
    def all_goes_well(self, steps: int) -> None:
        """Otherwise, the interesting states, with several ready and idle engines, would be
        rare."""
        for _ in range(steps):
            if not self._make_progress():
                break

    @invariant()
    def a_timer_is_never_overdue(self) -> None:
        if hasattr(self, "harness"):
            due = self.harness.scheduler.wake_at
            before = len(self.harness.history)
            if due <= self.harness.now:
                self.harness.tell(events.Tick())
                again = self.harness.scheduler.wake_at
                assert again > self.harness.now, "a tick that is due again at once"
            assert len(self.harness.history) - before < 10

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        self._everybody_is_served_once_nothing_fails_any_more()
        self._a_replay_decides_the_same()
        self._a_shutdown_leaves_nothing()

    def _everybody_is_served_once_nothing_fails_any_more(self) -> None:
        harness = self.harness
        harness.outsiders = 0
        already_failed = set(harness.of("failed"))
        for _ in range(400):
            if not self._make_progress():
                break
        impatient = set(harness.of("failed")) - already_failed
        for number in impatient:
            error = harness.requests[number].error
            overrun = error is not None and "CONTESTED_START_TIMEOUT" in error.message
            never = harness.requests[number].spec.key == HUGE.key
            may = overrun or never or isinstance(error, NoRoom)
            patient = not may and number in self.patient()
            assert not patient, f"request {number} failed: {error!r}"
        assert not harness.of("waiting", "granted"), "a request waits forever"

    def patient(self) -> set[int]:
        """Requests with a deadline too far away to come."""
        return {
            event.waiter
            for event in (step.event for step in replay(self._lines()))
            if isinstance(event, events.Wanted) and event.deadline > 1e5
        }

    def _make_progress(self) -> bool:
        """Let everything succeed for one step. False if nothing is left to do."""
        harness = self.harness
        for number in harness.of("granted", "cut"):
            harness.requests[number].state = "done"
            harness.tell(events.Released(number, answered=True))
            return True
        if harness.probes:
            self.answer_probe(healthy=True)
            return True
        for key, action in tuple(harness.fetches.items()):
            if action.attempt not in harness.described:
                harness.describe(key)
                return True
            del harness.fetches[key]
            harness.tell(fetched(key, action.attempt, harness.limits.devices))
            return True
        return any(map(self._move_on, tuple(harness.processes))) or self._wait()

    def _move_on(self, number: int) -> bool:
        """Let the process take its next step. False if it only waits."""
        harness = self.harness
        process = harness.processes[number]
        key = process.action.spec.key
        match process.state:
            case "starting":
                process.state = "ready"
                harness.tell(events.Healthy(key, number))
            case "launching":
                process.state = "standing"
                harness.tell(events.Standing(key, number))
            case "falling asleep":
                self._asleep(number, missing=0)
            case "waking":
                self._awake(number)
            case "stopping" | "ending":
                del harness.processes[number]
                if process.state == "stopping":
                    harness.leak(process, 0)
                harness.tell(events.Gone(key, number, 0))
            case _:
                return False
        return True

    def _wait(self) -> bool:
        due = self.harness.scheduler.wake_at
        if due == inf or not self.harness.of("waiting"):
            return False
        assert due < 1e5, "only a deadline ends the waiting"
        self.harness.now = max(due, self.harness.now)
        self.harness.tell(events.Tick())
        return True

    def _lines(self) -> list[str]:
        return self.harness.journal.getvalue().splitlines()

    def _a_replay_decides_the_same(self) -> None:
        replayed = [step.actions for step in replay(self._lines())]
        assert [str(a) for a in replayed] == [str(a) for a in self.harness.history]

    def _a_shutdown_leaves_nothing(self) -> None:
        harness = self.harness
        harness.tell(events.ShutDown(harness.now))
        harness.tell(events.Tick())
        assert not harness.of("waiting")
        assert not harness.fetches
        for number in harness.in_state("stopping", "ending"):
            key = harness.processes.pop(number).action.spec.key
            harness.tell(events.Gone(key, number, 0))
        assert not harness.processes
        assert harness.scheduler.empty


def stale_reports(key: EngineKey, old: int) -> list[events.Event]:
    return [
        events.Healthy(key, old),
        events.StartFailed(key, old, "exit 1", out_of_memory=False),
        events.StartFailed(key, old, "exit 1", out_of_memory=True),
        events.Responded(key, old),
        events.Crashed(key, old, "killed"),
        events.Gone(key, old, 0),
        events.Stuck(key, old),
        events.Described(key, old, Path("/s")),
        events.Fetched(key, old, Path("/s")),
        events.FetchFailed(key, old, ModelGated("no"), blames_credential=True),
    ]


def test_reports_of_an_earlier_life_change_nothing_in_any_state() -> None:
    harness, key = (
        SchedulerHarness(Limits(BUDGET, max_loaded=1, patience=0.0)),
        SPECS[0].key,
    )
    harness.requests[1] = Request(SPECS[0])
    harness.tell(events.Wanted(1, 1, SPECS[0], "x", 1e6))
    for state in ("fetching", "starting", "ready", "stopping"):
        slot = harness.scheduler.slots[key]
        assert slot.state == state
        for event in stale_reports(key, old=99):
            before = (
                slot.state,
                slot.generation,
                slot.attempt,
                len(slot.leases),
                slot.failures,
            )
            harness.tell(event)
            after = (
                slot.state,
                slot.generation,
                slot.attempt,
                len(slot.leases),
                slot.failures,
            )
            assert before == after, f"{event} in {state}"
        if state == "fetching":
            harness.tell(fetched(key, harness.fetches.pop(key).attempt))
            continue
        (number,) = harness.processes
        if state == "starting":
            harness.processes[number].state = "ready"
            harness.tell(events.Healthy(key, number))
        elif state == "ready":
            harness.tell(events.Crashed(key, number, "killed"))


PoolLife.TestCase.settings = settings(
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestPoolLife = PoolLife.TestCase
