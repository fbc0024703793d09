"""The one synchronous pass: take in an event, plan, return actions.

Knows no asyncio, process, network or wall clock. `Scheduler` owns the slots: whatever changes
one goes through `Scheduler.handle`. The planner and the quotas read slots and return
decisions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from math import inf

from router.errors import RouterError
from router.models import EngineKey, EngineSpec
from router.scheduler import actions, events, rejections
from router.scheduler.ahead import likely_place, prestarts
from router.scheduler.company import may_bar, stays, surplus
from router.scheduler.engine_life import SHORT_COOL_DOWN, EngineLife
from router.scheduler.fairness import crowded_out, gives_way_at
from router.scheduler.forecast import NO_DOWNLOAD, Download, Forecast, Reason
from router.scheduler.history import History
from router.scheduler.invariants import SchedulerView, check
from router.scheduler.lifecycle import State
from router.scheduler.moving_slot import Shared
from router.scheduler.outlook import Forecasts, place_in
from router.scheduler.placement import Devices, of_each
from router.scheduler.planner import Plan, plan
from router.scheduler.quotas import Quotas
from router.scheduler.report import PoolReport
from router.scheduler.roster import Roster
from router.scheduler.starting_slot import Placement
from router.scheduler.state import Limits, Slot
from router.scheduler.survey import Downloads, Measurement, survey
from router.scheduler.view import View

REMEASURE = 1.0  # seconds until free memory that was not enough is measured again
ALONE_FOR = 600.0  # seconds without a request for another model, for one that gets the device
CONTENDERS = 64  # models that wait: as many are looked at, to end a start for one of them
SNAPSHOTS_REMEMBERED = 1024  # models on disk that have no engine


class Scheduler:
    """All state of the pool, and what each event does to it.

    `history`: of earlier runs of the worker.
    """

    def __init__(self, limits: Limits, history: History | None = None) -> None:
        self.limits = limits
        self.shutting_down = False
        self._lost = [0] * limits.devices  # bytes that are missing, of each device
        self.wake_at = inf  # when a `Tick` is due, by the pool's clock; `inf`: never
        self._shared = Shared(limits, itertools.count(1), history=history or History())
        self._places, self._starts = self._shared.places, self._shared.starts
        self._lives: dict[EngineKey, EngineLife] = {}
        self._roster = Roster(limits)
        self._quotas = Quotas(limits, self._lives, self._places)
        self._holders: dict[int, EngineLife] = {}  # by waiter, until it leaves or fails
        self._changed: dict[EngineLife, None] = {}  # in this pass
        self._ending: set[int] = set()  # the generations of processes that never started
        self._forecasts = Forecasts()
        self._now = 0.0  # of the last pass
        self._measured: Measurement | None = None

    @property
    def slots(self) -> Mapping[EngineKey, EngineLife]:
        return self._lives

    def in_states(self, *states: State) -> Iterator[Slot]:
        """The slots in one of these, as the last pass has left them."""
        return chain.from_iterable(self._roster.in_state(one).values() for one in states)

    @property
    def written_off(self) -> int:
        """Bytes that are missing, on all devices together."""
        return sum(self._lost)

    @property
    def empty(self) -> bool:
        """No process is left or being started, except one that can't be killed."""
        roster = self._roster
        alive = any(not slot.stuck for slot in roster.engines)
        return not (alive or roster.in_state(State.FETCHING) or self._ending)

    def forecast(
        self, key: EngineKey, now: float, download: Download = NO_DOWNLOAD
    ) -> Forecast:
        """Why a model does not answer yet, and how long it takes until it does. Changes
        nothing. `now`: no earlier than the last pass. `download`: of the model."""
        slot = self._lives.get(key)
        if slot is None:
            return Forecast(Reason.QUEUED)
        return self._forecasts.of(slot, replace(self._view(), now=now), download)

    def report(self, now: float, downloads: Downloads = lambda _: NO_DOWNLOAD) -> PoolReport:
        """All that an operator may want to know. Changes nothing. `now`: no earlier than the
        last pass. `downloads`: how far each is, by its number."""
        view = replace(self._view(), now=now)
        return survey(
            view,
            lambda slot, download: self._forecasts.of(slot, view, download or NO_DOWNLOAD),
            downloads,
            measured=self._measured,
            waiting=self._places.taken,
            shutting_down=self.shutting_down,
        )

    def validate(self) -> None:
        """Raise `InvariantViolation` unless every invariant holds."""
        check(
            SchedulerView(
                self._lives,
                self._roster,
                self._holders,
                self.limits,
                settled=self._settled,
                shutting_down=self.shutting_down,
                places=self._places,
                wake_at=self.wake_at,
                now=self._now,
            )
        )

    def handle(self, event: events.Event, now: float) -> list[actions.Action]:
        """Take in one event, and return what to do because of it, in order.

        A stale report, of an earlier generation or download, changes nothing. An exception
        is a defect: the scheduler must not be used any more.
        """
        self._now = now
        slot: EngineLife | None
        if isinstance(event, events.Wanted):
            slot, done = self._wanted(event)
        elif isinstance(event, events.Released):
            slot, done = self._released(event, event.waiter, answered=event.answered)
        elif isinstance(event, events.Left):
            slot, done = self._released(event, event.waiter, answered=None)
        else:
            return self._replan(event, self._advance(event))
        if slot is not None and slot.state is State.READY and not slot.queue and self._settled:
            # The usual request: a ready engine takes it, or has answered it. Nothing to plan.
            self._changed.clear()
            self.wake_at = min(self.wake_at, self._roster.note_use(slot, now))
            return done
        return self._replan(event, done)

    @property
    def _settled(self) -> bool:
        """No request waits, and no engine drains."""
        return not (self._roster.queued or self._roster.in_state(State.DRAINING))

    def _replan(self, event: events.Event, done: list[actions.Action]) -> list[actions.Action]:
        """Plan, and add what the plan asks for to what the event has caused."""
        replan_at = inf
        self._file()
        if not self.shutting_down:
            done += self._make_way()
            self._file()
            carried_out, replan_at = self._carry_out_plans(event)
            done += carried_out
            replan_at = min((replan_at, *map(self._gives_way_at, self._starting)))
        for action in done:
            if isinstance(action, actions.Fail):
                self._holders.pop(action.waiter, None)
            elif isinstance(action, actions.Stop):
                self._note_ending(action)
        self.wake_at = min(replan_at, self._roster.next_due())
        return done

    def _note_ending(self, action: actions.Stop) -> None:
        """An engine is STOPPING until it is gone. Of a process that never started, no slot
        says that it is still there."""
        slot = self._lives.get(action.key)
        if slot is None or slot.generation != action.generation:
            self._ending.add(action.generation)

    def _change(self, slot: Slot) -> EngineLife:
        """The slot, to be changed in this pass."""
        life = self._lives[slot.key]
        self._changed[life] = None
        return life

    def _file(self) -> None:
        """Bring the indices up to date, and drop what nothing needs."""
        for slot in self._changed:
            self._roster.file(slot, self._now)
            if slot.state is State.COLD and slot.forgettable(self._now):
                self._forget(slot)
        self._changed.clear()
        on_disk = self._roster.in_state(State.FETCHED)
        if len(on_disk) > SNAPSHOTS_REMEMBERED:
            oldest = itertools.islice(on_disk.values(), CONTENDERS)
            for one in [one for one in oldest if one.forgettable(self._now)]:
                self._forget(one)

    def _forget(self, slot: Slot) -> None:
        del self._lives[slot.key]
        self._roster.forget(slot)

    # --- requests --------------------------------------------------------------------

    def _wanted(self, request: events.Wanted) -> tuple[EngineLife, list[actions.Action]]:
        key, now = request.spec.key, self._now
        slot = self._lives.get(key)
        if slot is None:
            slot = self._lives[key] = EngineLife(request.spec, self._shared)
        self._changed[slot] = None
        slot.note(request, now)
        if (granted := slot.serve(request, now)) is not None:
            self._holders[request.waiter] = slot
            return slot, [granted]
        if error := slot.refusal(request, now):
            return slot, [actions.Fail(request.waiter, error)]
        made_room: list[actions.Action] = []
        on_trial = slot.suspicion.active(now)  # then it may have to wait for others to end
        served = not on_trial and slot.accepts(request.caller, self.limits)
        if slot.yielded_by_quota or not served:
            self._configure(slot, request.spec)
            if error := self._admit(slot, request, served=served):
                return slot, [actions.Fail(request.waiter, error)]
            made_room = [] if served else self._make_room(slot, request)
        self._holders[request.waiter] = slot
        return slot, [*made_room, *slot.enqueue(request, now)]

    def _admit(
        self, slot: EngineLife, request: events.Wanted, *, served: bool
    ) -> RouterError | None:
        """Refuse a request that is to wait, or let it count against its caller's quotas."""
        now = self._now
        if error := self._refusal(slot, request, served=served):
            return error
        ruling = self._quotas.rule(slot, request, now, served=served)
        for key in ruling.yields:
            self._change(self._lives[key]).yield_by_quota()
        if ruling.starts:
            slot.belong_to(request.caller)
            self._quotas.charge_start(request.caller, now)
        return ruling.error

    def _refusal(
        self, slot: Slot, request: events.Wanted, *, served: bool
    ) -> RouterError | None:
        if self.shutting_down:
            return rejections.shutting_down()
        if slot.retry_at - self._now > SHORT_COOL_DOWN:
            return rejections.cooling_down(slot, self._now)
        if slot.state is State.FETCHING and request.credential_digest in slot.refused:
            return slot.refused[request.credential_digest]
        if not slot.state.claims and (error := self._view().unfit(slot)):
            return error
        if served or request.retried:
            return None
        if slot.line_is_full:  # a place that is given up there is one of all places, too
            hopeless = slot.queue.given_up_for(request.caller) is None
            refused = rejections.model_queue_full
        else:
            hopeless = self._full and self._places.given_up_for(request.caller) is None
            refused = rejections.queue_full
        return refused(place_in(self._view())) if hopeless else None

    @property
    def _full(self) -> bool:
        return self._places.taken >= self.limits.max_queue

    def _make_room(self, slot: Slot, request: events.Wanted) -> list[actions.Action]:
        """Where all places are taken, free one that another caller has too many of."""
        if request.retried or not (self._full or slot.line_is_full):
            return []
        places = slot.queue if slot.line_is_full else self._places
        last = places.given_up_for(request.caller)
        assert last is not None  # noqa: S101  else `_refusal` has refused the request
        holder = self._change(self._holders[last.waiter])
        return holder.refuse(last.waiter, rejections.place_given_up(), self._now)

    def _released(
        self, event: events.Released | events.Left, waiter: int, *, answered: bool | None
    ) -> tuple[EngineLife | None, list[actions.Action]]:
        slot = self._holders.pop(waiter, None)
        if slot is None:
            return None, []
        self._changed[slot] = None
        slot.note(event, self._now)
        return slot, slot.release(waiter, self._now, answered=answered)

    # --- all other events ------------------------------------------------------------

    def _advance(self, event: events.Event) -> list[actions.Action]:
        now = self._now
        match event:
            case events.Tick():
                due = self._roster.due(now)
                # While they are known: what is done for one changes them for others.
                late = [one.key for one in due if now >= one.queue.next_deadline]
                waits = {key: self.forecast(key, now) for key in late}
                return [
                    done
                    for slot in due
                    for done in self._change(slot).tick(now, waits.get(slot.key))
                ]
            case events.Unload(key) | events.Pin(key) | events.Unpin(key):
                if key not in self._lives or self.shutting_down:
                    return []
                done = self._operate(self._change(self._lives[key]), event)
                return done + self._part()
            case events.Downloaded(caller, size):
                self._quotas.charge_bytes(caller, size, now)
            case _ if isinstance(event, events.Report):
                return self._reported(event)
            case _:
                return self._advance_all(event)
        return []

    def _operate(self, slot: EngineLife, event: events.Event) -> list[actions.Action]:
        """Do what the operator says."""
        slot.note(event, self._now)
        match event:
            case events.Unload():
                return slot.unload(self._now)
            case events.Pin():
                return slot.pin_down(self._now)
        slot.unpin(self._now)
        return []

    def _part(self) -> list[actions.Action]:
        """Have engines leave that may no longer be loaded together: first idle ones, and those
        that are the least loss. What is in flight ends, what waits gets the next start."""
        if self.shutting_down:
            return []
        self._file()
        stay = [one for one in self._roster.engines if stays(one)]
        by_loss = list(self._view().by_loss(one for one in stay if not one.pinned))
        ordered = [one for one in stay if one.pinned]
        for idle in (False, True):
            ordered += [one for one in reversed(by_loss) if one.idle is idle]
        return [
            done
            for slot, bar in surplus(ordered)
            for done in self._change(slot).unload(self._now, parted_by=bar.name)
        ]

    def _advance_all(self, event: events.Event) -> list[actions.Action]:
        """Take in an event that may concern every model."""
        slots, now = tuple(self._lives.values()), self._now
        match event:
            case events.ShutDown(deadline):
                self.shutting_down = True
                return [
                    done
                    for slot in slots
                    for done in self._change(slot).shut_down(deadline, now)
                ]
            case events.Learned(facts):
                for fact in facts:
                    self._shared.history.learn(fact)
            case events.Ruled(specs):
                known = [one for one in specs if one.key in self._lives]
                done = [
                    done
                    for one in known
                    for done in self._change(self._lives[one.key]).rule(one, now)
                ]
                return done + self._part()
            case events.Thawed():
                return [done for slot in slots for done in self._change(slot).probe()]
            case events.ForgetSnapshot(repo_id, commit):
                return [
                    done
                    for slot in slots
                    if (slot.key.repo_id, slot.key.commit) == (repo_id, commit)
                    for done in self._change(slot).forget_snapshot(now)
                ]
        return []  # `Measured` is for the plan of this pass

    def _reported(self, event: events.Report) -> list[actions.Action]:
        if isinstance(event, events.Gone):
            self._ending.discard(event.generation)
        if event.key not in self._lives:
            return []
        slot = self._change(self._lives[event.key])
        before = slot.state
        done = slot.report(event, self._now)
        if isinstance(event, events.Described | events.Fetched | events.Gone):
            self._configure(slot, slot.latest)
        if slot.state is State.FETCHING and slot.described:
            error = self._view().unfit(slot)
            done += slot.give_up_fetch(error, self._now) if error else []
        if isinstance(event, events.Gone | events.Asleep) and slot.state is not before:
            done += self._write_off(of_each(event.missing, event.others, slot.devices))
        return done

    def _write_off(self, missing: Mapping[int, int]) -> list[actions.Action]:
        """Do without memory of these devices that did not come back."""
        alarms: list[actions.Action] = []
        before = self._lost.copy()
        for device, size in missing.items():
            if size > self._lost[device]:
                of = f" of device {device}" if self.limits.devices > 1 else ""
                alarms.append(
                    actions.Alarm(f"{size} bytes of accelerator memory{of} are missing.")
                )
            self._lost[device] = size
        if self._lost != before:
            for slot in self._lives.values():  # a claim may be a share of what is left
                self._configure(self._change(slot), slot.latest)
        return alarms

    def _configure(self, slot: EngineLife, spec: EngineSpec) -> None:
        """Take on settings and size, for the roomiest of its places; or for the next engine."""
        if slot.state.claims:
            slot.expect(spec)
            return
        places = self._view().places(slot)
        device = max(map(self._device, places), default=self.limits.budget)
        slot.configure(spec, device, self._now)

    def _device(self, devices: Devices) -> int:
        """Bytes that engines may use of each of these devices."""
        return self.limits.budget - max(self._lost[device] for device in devices)

    # --- making way ------------------------------------------------------------------

    def _make_way(self) -> list[actions.Action]:
        """End downloads and the start that others wait for, and that have had their turn."""
        roster, now = self._roster, self._now
        excess = len(roster.in_state(State.FETCHING)) - self.limits.max_downloads
        done = [
            action
            for slot in crowded_out(roster.lingering.values(), excess)
            for action in self._change(slot).abandon(now)
        ]
        for start in self._starting:
            if now >= self._gives_way_at(start):
                self._change(start)
                done += start.overrun(now) if start.queue else start.abandon(now)
        return done

    @property
    def _starting(self) -> list[EngineLife]:
        """One on a device at most."""
        return [self._lives[key] for key in self._roster.in_state(State.STARTING)]

    def _gives_way_at(self, start: Slot) -> float:
        view = self._view()
        waiting = itertools.islice(view.in_turn(), CONTENDERS)
        fit = (one for one in waiting if view.contends(one, start) and not view.unfit(one))
        return gives_way_at(start, fit, self.limits)

    # --- the plan --------------------------------------------------------------------

    def _view(self, free: Sequence[int] | None = None) -> View:
        return View(
            self._roster,
            self.limits,
            self._shared.history,
            self._starts,
            self._now,
            self._lost,
            free,
        )

    def _carry_out_plans(self, event: events.Event) -> tuple[list[actions.Action], float]:
        """What to do now, and when time alone will change the plan. Each device but the first
        may have a plan of its own: engines start and stop side by side on several."""
        free = None
        if isinstance(event, events.Measured):
            each = of_each(event.free, event.others, tuple(range(self.limits.devices)))
            free = tuple(each.values())
            self._measured = Measurement(free, self._now)
        done: list[actions.Action] = []
        started = False
        for left in reversed(range(self.limits.devices)):
            decided = plan(self._view(free))
            started = started or decided.start is not None
            last = left == 0 or not (decided.start or decided.evict or decided.expire)
            done += self._follow(decided, last=last)
            self._file()
            if last:
                break
        wake_at = decided.wake_at
        if free is not None and not started and self._roster.queued:
            wake_at = min(wake_at, self._now + REMEASURE)
        return done, wake_at

    def _follow(self, decided: Plan, *, last: bool) -> list[actions.Action]:
        """`last`: of this pass."""
        now = self._now
        done: list[actions.Action] = [actions.Measure()] if decided.measure else []
        for slot, error in decided.reject:
            done += self._change(slot).fail(error)
        if decided.drain is not None:
            done += self._drain_or_revive(decided.drain, decided.evict)
        if decided.start is not None:
            start = self._change(decided.start)
            done += self._start(start, decided.free, decided.devices)
        if decided.evict is not None:
            wanted = next(
                (one.key for one, left in decided.rooms.items() if decided.evict in left), None
            )
            evicted = self._change(decided.evict).evict(now, sleep=decided.sleep)
            done.append(replace(evicted, room_for=wanted, group=_group_of(decided)))
        if decided.expire is not None:
            done.append(self._change(decided.expire).expire(now))
        ahead = last and not decided.measure
        return done + self._start_ahead(decided) if ahead else done

    def _start(self, slot: EngineLife, free: int, devices: Devices) -> list[actions.Action]:
        whole = self._gets_all(slot)
        place = Placement(devices, self._device(devices))
        return slot.start(free, self._now, place=place, whole=whole)

    def _gets_all(self, slot: Slot) -> bool:
        """Whether it may have the whole device: no other model was wanted for some time."""
        since = self._now - ALONE_FOR
        return self.limits.whole_device and not any(
            other is not slot
            and (other.queue or other.state.claims or other.demand.last > since)
            for other in self._lives.values()
        )

    def _start_ahead(self, decided: Plan) -> list[actions.Action]:
        done: list[actions.Action] = []
        self._file()
        view = self._view()
        new, surplus = prestarts(view, decided)
        for slot in surplus:
            done += self._change(slot).dismiss("others are wanted more", self._now)
        for slot in new:
            devices = decided.places.get(slot) or likely_place(view, slot)
            if devices is None:
                continue
            place, whole = Placement(devices, self._device(devices)), self._gets_all(slot)
            ahead = self._change(slot).prestart(self._now, place=place, whole=whole)
            done.append(ahead)
        return done

    def _drain_or_revive(
        self, drain: tuple[Slot, ...], evict: Slot | None
    ) -> list[actions.Action]:
        done: list[actions.Action] = []
        for slot in drain:
            self._change(slot).drain(self._now)
        for slot in tuple(self._roster.in_state(State.DRAINING).values()):
            if slot not in drain and slot is not evict and not slot.unloads:
                done += self._change(slot).revive(self._now)
        return done


def _group_of(decided: Plan) -> str | None:
    """The group for which a plan's engine is evicted; None: for its room."""
    for slot, group in decided.groups.items():
        if decided.evict in decided.rooms.get(slot, ()):
            other = None if decided.evict is None else decided.evict.spec.group
            return group if may_bar(slot.spec.group, other) else None
    return None
