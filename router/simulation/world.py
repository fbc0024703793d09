"""A device, its engines and its callers in virtual time, around anything that decides.

What decides takes the scheduler's own events and returns its own actions; `Scheduler` itself
fits, and so do the rivals of `rivals.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Protocol

from router.models import EngineKey
from router.scheduler import actions, events
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.broken import must
from router.simulation.card import Card, ExactCard
from router.simulation.model_specs import ModelSpecs
from router.simulation.reads import WeightReads
from router.simulation.records import OpenRequests, RequestOutcome, SimulatedEngine, Totals

QUEUE_TIMEOUT = 480.0  # the setting's default for RunPod's queue
_TICKS_AT_ONCE = 1000  # more without time passing: what decides is caught in a loop


class Decider(Protocol):
    @property
    def wake_at(self) -> float: ...

    def handle(self, event: events.Event, now: float) -> list[actions.Action]: ...


class World:
    """Runs one trace. `outcomes` and `totals` hold what happened.

    `card`: the machine's device; the first of them, where it has `further` ones. `specs`: of
    the trace's models, where many worlds share them.
    """

    def __init__(
        self,
        trace: ArrivalTrace,
        decider: Decider,
        *,
        declared: bool,
        patience: float = QUEUE_TIMEOUT,
        card: Card | None = None,
        further: Sequence[Card] = (),
        after_each: Callable[[], None] | None = None,
        specs: ModelSpecs | None = None,
    ) -> None:
        self.trace, self.machine, self.decider = trace, trace.machine, decider
        self.now = 0.0
        self.outcomes: list[RequestOutcome] = []
        self.totals = Totals()
        self.open = OpenRequests()
        self.engines: dict[int, SimulatedEngine] = {}  # by generation
        self._reads = WeightReads(trace.machine.load_rate)
        self._specs = specs or ModelSpecs(trace.models, declared=declared)
        self.cards = (card or ExactCard(trace.machine.device), *further)
        self._patience, self._after_each = patience, after_each
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._ticks = 0  # since time has passed

    def run(self) -> None:
        """Until every request has ended, and all that was begun is done."""
        ahead = iter(self.trace.requests)
        request = next(ahead, None)
        open_until = self.trace.lasts + self._patience
        while True:
            asked = request.at if request is not None else inf
            planned, wake = self._planned, self._wake
            if min(asked, planned) == inf and (wake == inf or self.now > open_until):
                return
            if request is not None and asked < planned and asked <= wake:
                self.ask(request)
                request = next(ahead, None)
            else:
                self.step()

    @property
    def due(self) -> float:
        """When something happens next, unless a request comes before; `inf`: nothing does."""
        return min(self._planned, self._wake)

    @property
    def _planned(self) -> float:
        return self._agenda[0][0] if self._agenda else inf

    @property
    def _wake(self) -> float:
        return max(self.decider.wake_at, self.now)

    def step(self) -> None:
        """What happens next."""
        wake = self._wake
        self._ticks = self._ticks + 1 if wake == self.now else 0
        if self._ticks > _TICKS_AT_ONCE:
            raise RuntimeError(f"time stands still at {self.now}")
        if wake < self._planned:
            self.now = wake
            self.tell(events.Tick())
        else:
            self.now, _, what = heapq.heappop(self._agenda)
            what()

    def tell(self, event: events.Event) -> None:
        done = self.decider.handle(event, self.now)
        if self._after_each is not None:
            self._after_each()
        for action in done:
            self._perform(action)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._order += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._order, what))

    # --- requests --------------------------------------------------------------------

    def ask(self, arrival: Arrival) -> None:
        """A request comes, now: nothing that is due happens before."""
        self.now, self._ticks = arrival.at, 0
        number = len(self.outcomes)
        self.outcomes.append(RequestOutcome(self.now, arrival.model, arrival.tokens))
        self.open.begin(arrival.model, self.now)
        deadline = self.now + self._patience
        spec = self._specs[arrival.model]
        self.tell(events.Wanted(number, number, spec, "", deadline, arrival.caller))

    def _granted(self, number: int, generation: int) -> None:
        outcome = self.outcomes[number]
        engine = self.engines[generation]
        must(engine.answers, "granted without an engine")
        must(outcome.waits, "granted twice, or after a failure")
        outcome.granted = self.now
        engine.in_flight, engine.used = engine.in_flight + 1, self.now
        for card in self._cards_of(generation):
            card.work(generation)
        seconds = outcome.tokens * self.machine.token
        self.at(seconds, partial(self._answered, number, engine))

    def _answered(self, number: int, engine: SimulatedEngine) -> None:
        outcome = self.outcomes[number]
        outcome.ended = self.now
        self.open.end(outcome.model, self.now)
        engine.in_flight, engine.used = engine.in_flight - 1, self.now
        self.tell(events.Released(number, answered=True))

    # --- engines ---------------------------------------------------------------------

    def _perform(self, action: actions.Action) -> None:  # noqa: C901  a flat dispatch
        match action:
            case actions.Grant(waiter, _, generation):
                self._granted(waiter, generation)
            case actions.Fail(waiter, error):
                outcome = self.outcomes[waiter]
                outcome.failed, outcome.ended = error.code, self.now
                self.open.end(outcome.model, self.now)
            case actions.Fetch(spec, attempt):
                model = self._specs.model(spec.key)
                done = events.Fetched(
                    spec.key, attempt, Path("/snapshot"), model.weights, model.plan
                )
                self.at(self.machine.download, partial(self.tell, done))
            case actions.Measure():
                first, *others = (card.free(self.now) for card in self.cards)
                self.tell(events.Measured(first, tuple(others)))
            case actions.Start(spec, generation, _, allotment):
                self._start(spec.key, generation, allotment)
            case actions.Prestart(spec, generation):
                self._prestart(spec.key, generation)
            case actions.Stop(key, generation):
                self._stop(key, generation)
            case actions.Sleep(key, generation) | actions.Wake(key, generation):
                self._copy(key, generation, asleep=isinstance(action, actions.Sleep))
            case actions.Probe(key, generation):
                self.at(0.1, partial(self._responded, key, generation))
            case actions.Alarm(message, leave):
                must(not leave, message)

    def _prestart(self, key: EngineKey, generation: int) -> None:
        self.totals.prestarts += 1
        ready = self.now + self.machine.process_start
        self.engines[generation] = SimulatedEngine(
            key, self._specs.model(key), standing_at=ready
        )
        self.at(self.machine.process_start, partial(self._stands, generation))

    def _stands(self, generation: int) -> None:
        engine = self._living(generation)
        if engine is not None and not engine.started:
            self.tell(events.Standing(engine.key, generation))

    def _start(self, key: EngineKey, generation: int, allotment: actions.Allotment) -> None:
        engine = self.engines.get(generation)
        if engine is None:
            engine = self.engines[generation] = SimulatedEngine(key, self._specs.model(key))
            engine.standing_at = self.now + self.machine.process_start
        self.totals.cold_starts += 1
        engine.started, engine.devices = True, allotment.devices
        seconds = max(0.0, engine.standing_at - self.now)
        self.at(seconds, partial(self._load, generation, allotment))

    def _load(self, generation: int, allotment: actions.Allotment) -> None:
        engine = self._living(generation)
        if engine is None:
            return
        loaded = [
            card.load(generation, engine.model, allotment, self.now)
            for card in self._cards_of(generation)
        ]
        if not all(loaded):
            failed = events.StartFailed(engine.key, generation, "no memory", out_of_memory=True)
            self.tell(failed)
        else:
            self._reads.begin(generation, engine.model.to_read, self.now)
            self._watch_loads()

    def _watch_loads(self) -> None:
        """Come back when the next load is done, unless others begin or end before."""
        due = self._reads.next_done(self.now)
        if due < inf:
            self.at(due - self.now, self._loaded)

    def _loaded(self) -> None:
        if done := self._reads.done(self.now):
            for generation in done:
                self.at(self.machine.warm_up, partial(self._healthy, generation))
            self._watch_loads()

    def _cards_of(self, generation: int) -> list[Card]:
        return [self.cards[device] for device in self.engines[generation].devices]

    def _living(self, generation: int) -> SimulatedEngine | None:
        engine = self.engines.get(generation)
        return None if engine is None or engine.stopping else engine

    def _healthy(self, generation: int) -> None:
        if engine := self._living(generation):
            engine.healthy = True
            taken = [card.taken(generation) for card in self._cards_of(generation)]
            told = [size for size in taken if size is not None]
            most = max(told) if len(told) == len(taken) else None
            self.tell(events.Healthy(engine.key, generation, most))

    def _stop(self, key: EngineKey, generation: int) -> None:
        engine = self.engines[generation]
        must(not engine.in_flight, "stopped while it answers")
        engine.stopping = True
        self._reads.end(generation, self.now)
        self._watch_loads()
        self.at(self.machine.stop, partial(self._gone, key, generation))

    def _gone(self, key: EngineKey, generation: int) -> None:
        first, *others = (card.end(generation, self.now) for card in self._cards_of(generation))
        del self.engines[generation]
        self.tell(events.Gone(key, generation, first, tuple(others)))

    def _copy(self, key: EngineKey, generation: int, *, asleep: bool) -> None:
        engine = self.engines[generation]
        seconds = self.machine.copy(engine.model.weights)
        if asleep:
            must(not engine.in_flight, "put to sleep while it answers")
            self.totals.sleeps += 1
            engine.healthy, engine.sleeps = False, True
            self.at(seconds, partial(self._asleep, key, generation))
        else:
            self.totals.wakes += 1
            for card in self._cards_of(generation):
                card.wake(generation)
            self.at(seconds, partial(self._awake, key, generation))

    def _asleep(self, key: EngineKey, generation: int) -> None:
        if self._living(generation):
            left = self.machine.asleep_holds
            for card in self._cards_of(generation):
                card.sleep(generation, left)
            self.tell(events.Asleep(key, generation, 0, left))

    def _awake(self, key: EngineKey, generation: int) -> None:
        if engine := self._living(generation):
            engine.healthy, engine.sleeps = True, False
            self.tell(events.Awake(key, generation))

    def _responded(self, key: EngineKey, generation: int) -> None:
        if generation in self.engines:
            self.tell(events.Responded(key, generation))
