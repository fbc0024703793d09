"""A machine in virtual time: its engines carry out the scheduler's actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path

from router.models import EngineKey
from router.scheduler import actions, events
from router.simulation.agenda import Agenda
from router.simulation.broken import must
from router.simulation.card import Card
from router.simulation.hardware import Hardware
from router.simulation.model_specs import ModelSpecs
from router.simulation.reads import WeightReads
from router.simulation.records import SimulatedEngine, Totals


class SimulatedMachine:
    """Carries out actions. `tell` gets the events that result."""

    def __init__(
        self,
        hardware: Hardware,
        specs: ModelSpecs,
        cards: Sequence[Card],
        agenda: Agenda,
        tell: Callable[[events.Event], None],
    ) -> None:
        self._hardware, self._specs, self._cards = hardware, specs, cards
        self._agenda, self._tell = agenda, tell
        self._reads = WeightReads(hardware.load_rate)
        self.engines: dict[int, SimulatedEngine] = {}  # by generation
        self.totals = Totals()

    def perform(self, action: actions.Action) -> None:
        match action:
            case actions.Fetch(spec, attempt):
                model = self._specs.model(spec.key)
                done = events.Fetched(
                    spec.key, attempt, Path("/snapshot"), model.weights, model.plan
                )
                self._agenda.at(self._hardware.download, partial(self._tell, done))
            case actions.Measure():
                first, *others = (card.free(self._agenda.now) for card in self._cards)
                self._tell(events.Measured(first, tuple(others)))
            case actions.Start(spec, generation, _, allotment):
                self._start(spec.key, generation, allotment)
            case actions.Prestart(spec, generation):
                self._prestart(spec.key, generation)
            case actions.Stop(key, generation):
                self._stop(key, generation)
            case actions.Sleep(key, generation) | actions.Wake(key, generation):
                self._copy(key, generation, asleep=isinstance(action, actions.Sleep))
            case actions.Probe(key, generation):
                self._agenda.at(0.1, partial(self._responded, key, generation))

    def begin(self, generation: int) -> SimulatedEngine:
        """An engine begins a request."""
        engine = self.engines[generation]
        must(engine.answers, "granted without an engine")
        engine.in_flight, engine.used = engine.in_flight + 1, self._agenda.now
        for card in self._cards_of(generation):
            card.work(generation)
        return engine

    def end(self, engine: SimulatedEngine) -> None:
        """The engine has answered the request."""
        engine.in_flight, engine.used = engine.in_flight - 1, self._agenda.now

    def _prestart(self, key: EngineKey, generation: int) -> None:
        self.totals.prestarts += 1
        ready = self._agenda.now + self._hardware.process_start
        self.engines[generation] = SimulatedEngine(
            key, self._specs.model(key), standing_at=ready
        )
        self._agenda.at(self._hardware.process_start, partial(self._stands, generation))

    def _stands(self, generation: int) -> None:
        engine = self._living(generation)
        if engine is not None and not engine.started:
            self._tell(events.Standing(engine.key, generation))

    def _start(self, key: EngineKey, generation: int, allotment: actions.Allotment) -> None:
        engine = self.engines.get(generation)
        if engine is None:
            engine = self.engines[generation] = SimulatedEngine(key, self._specs.model(key))
            engine.standing_at = self._agenda.now + self._hardware.process_start
        self.totals.cold_starts += 1
        engine.started, engine.devices = True, allotment.devices
        seconds = max(0.0, engine.standing_at - self._agenda.now)
        self._agenda.at(seconds, partial(self._load, generation, allotment))

    def _load(self, generation: int, allotment: actions.Allotment) -> None:
        engine = self._living(generation)
        if engine is None:
            return
        loaded = [
            card.load(generation, engine.model, allotment, self._agenda.now)
            for card in self._cards_of(generation)
        ]
        if not all(loaded):
            failed = events.StartFailed(engine.key, generation, "no memory", out_of_memory=True)
            self._tell(failed)
        else:
            self._reads.begin(generation, engine.model.to_read, self._agenda.now)
            self._watch_loads()

    def _watch_loads(self) -> None:
        """Check again when the next load should be done, if no other begins or ends before."""
        due = self._reads.next_done(self._agenda.now)
        if due < inf:
            self._agenda.at(due - self._agenda.now, self._loaded)

    def _loaded(self) -> None:
        if done := self._reads.done(self._agenda.now):
            for generation in done:
                self._agenda.at(self._hardware.warm_up, partial(self._healthy, generation))
            self._watch_loads()

    def _cards_of(self, generation: int) -> list[Card]:
        return [self._cards[device] for device in self.engines[generation].devices]

    def _living(self, generation: int) -> SimulatedEngine | None:
        engine = self.engines.get(generation)
        return None if engine is None or engine.stopping else engine

    def _healthy(self, generation: int) -> None:
        if engine := self._living(generation):
            engine.healthy = True
            taken = [card.taken(generation) for card in self._cards_of(generation)]
            told = [size for size in taken if size is not None]
            most = max(told) if len(told) == len(taken) else None
            self._tell(events.Healthy(engine.key, generation, most))

    def _stop(self, key: EngineKey, generation: int) -> None:
        engine = self.engines[generation]
        must(not engine.in_flight, "stopped while it answers")
        engine.stopping = True
        self._reads.end(generation, self._agenda.now)
        self._watch_loads()
        self._agenda.at(self._hardware.stop, partial(self._gone, key, generation))

    def _gone(self, key: EngineKey, generation: int) -> None:
        first, *others = (
            card.end(generation, self._agenda.now) for card in self._cards_of(generation)
        )
        del self.engines[generation]
        self._tell(events.Gone(key, generation, first, tuple(others)))

    def _copy(self, key: EngineKey, generation: int, *, asleep: bool) -> None:
        engine = self.engines[generation]
        seconds = self._hardware.copy(engine.model.weights)
        if asleep:
            must(not engine.in_flight, "put to sleep while it answers")
            self.totals.sleeps += 1
            engine.healthy, engine.sleeps = False, True
            self._agenda.at(seconds, partial(self._asleep, key, generation))
        else:
            self.totals.wakes += 1
            for card in self._cards_of(generation):
                card.wake(generation)
            self._agenda.at(seconds, partial(self._awake, key, generation))

    def _asleep(self, key: EngineKey, generation: int) -> None:
        if self._living(generation):
            left = self._hardware.asleep_holds
            for card in self._cards_of(generation):
                card.sleep(generation, left)
            self._tell(events.Asleep(key, generation, 0, left))

    def _awake(self, key: EngineKey, generation: int) -> None:
        if engine := self._living(generation):
            engine.healthy, engine.sleeps = True, False
            self._tell(events.Awake(key, generation))

    def _responded(self, key: EngineKey, generation: int) -> None:
        if generation in self.engines:
            self._tell(events.Responded(key, generation))
