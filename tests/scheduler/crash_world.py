"""A model, its engine and its callers in virtual time. It shows which callers a poison request
hurts."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from router.errors import RouterError
from router.models import EngineKey
from router.scheduler import actions, events
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler
from tests.pool.fakes import GIB, spec

MODEL = spec("shared", memory=4 * GIB)
START = 30.0  # seconds until an engine is ready
PROBE, PATIENCE = 1.0, 21.0  # seconds that a probe takes; longer for an engine that hangs


@dataclass(eq=False)
class Ask:
    """One request of a caller. Times in seconds."""

    caller: str
    takes: float = 0.5
    kills_after: float | None = None  # it is a poison
    hangs: bool = False  # the poison hangs the engine instead of killing it
    leaves_after: float | None = None  # the caller hangs up so long after its grant
    streams: bool = False  # the caller has received bytes, so it is not retried
    asked: float = 0.0
    age: int | None = None
    granted: int | None = None  # generation
    answered: float | None = None
    error: RouterError | None = None
    done: Callable[[Ask], None] | None = None


@dataclass
class World:
    """Runs the scheduler with engines that die on request."""

    limits: Limits = field(default_factory=lambda: Limits(100 * GIB, stall_timeout=120.0))
    now: float = 0.0
    deaths: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.limits)
        self._numbers = itertools.count(1)
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._open: dict[int, Ask] = {}
        self._alive: dict[int, EngineKey] = {}  # engines that are ready, by generation
        self._hung: set[int] = set()

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), what))

    def run(self, until: float) -> None:
        while True:
            due = self._agenda[0][0] if self._agenda else inf
            wake = max(self.scheduler.wake_at, self.now)
            if min(due, wake) > until:
                self.now = until
                return
            if wake < due:
                self.now = wake
                self.tell(events.Tick())
            else:
                self.now, _, what = heapq.heappop(self._agenda)
                what()

    def tell(self, event: events.Event) -> None:
        done = self.scheduler.handle(event, self.now)
        self.scheduler.validate()
        for action in done:
            self._perform(action)

    # --- callers ---------------------------------------------------------------------

    def ask(self, ask: Ask) -> Ask:
        ask.asked = self.now
        self.asks.append(ask)
        self._want(ask)
        return ask

    def of(self, caller: str) -> list[Ask]:
        return [ask for ask in self.asks if ask.caller == caller]

    def _want(self, ask: Ask) -> None:
        number = next(self._numbers)
        ask.age = number if ask.age is None else ask.age
        self._open[number] = ask
        deadline = ask.asked + 600.0
        self.tell(events.Wanted(number, ask.age, MODEL, "", deadline, ask.caller))

    def _granted(self, number: int, generation: int) -> None:
        ask = self._open[number]
        ask.granted = generation
        if ask.kills_after is not None:
            kill = self._hang if ask.hangs else self.crash
            self.at(self.now + ask.kills_after, lambda: kill(generation))
        if ask.leaves_after is not None:
            self.at(self.now + ask.leaves_after, lambda: self._leave(number))
        if ask.kills_after is None or ask.takes:
            self.at(self.now + ask.takes, lambda: self._answer(number, generation))

    def _answer(self, number: int, generation: int) -> None:
        ask = self._open.get(number)
        if ask is None or generation not in self._alive or generation in self._hung:
            return
        del self._open[number]
        ask.answered = self.now
        self.tell(events.Released(number, answered=True))
        self._end(ask)

    def _leave(self, number: int) -> None:
        if ask := self._open.pop(number, None):
            self.tell(events.Released(number, answered=False))
            self._end(ask)

    def _end(self, ask: Ask) -> None:
        if ask.done:
            ask.done(ask)

    def _fail(self, ask: Ask, error: RouterError) -> None:
        ask.error = error
        self._end(ask)

    # --- engines ---------------------------------------------------------------------

    def crash(self, generation: int) -> None:
        """Crash the engine. The request path retries once, as the scheduler allows."""
        if generation not in self._alive:
            return
        key = self._alive.pop(generation)
        self.deaths.append(self.now)
        self.tell(events.Crashed(key, generation, "killed"))
        for number, ask in tuple(self._open.items()):
            if ask.granted == generation:
                del self._open[number]
                self.tell(events.Released(number, answered=False))
                self._lost(ask, number)

    def _lost(self, ask: Ask, number: int) -> None:
        ask.granted = None
        if ask.streams or ask.age != number:
            self._fail(ask, RouterError("the engine died"))
        else:
            self._want(ask)

    def _hang(self, generation: int) -> None:
        self._hung.add(generation)

    def _probed(self, probe: actions.Probe) -> None:
        if probe.generation not in self._hung:
            self.tell(events.Responded(probe.key, probe.generation))
        else:
            self.at(self.now + PATIENCE, lambda: self.crash(probe.generation))

    def _ready(self, key: EngineKey, generation: int) -> None:
        self._alive[generation] = key
        self.tell(events.Healthy(key, generation))

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Grant(waiter, _, generation):
                self._granted(waiter, generation)
            case actions.Fail(waiter, error):
                self._fail(self._open.pop(waiter), error)
            case actions.Fetch(wanted, attempt):
                fetched = events.Fetched(wanted.key, attempt, Path("/s"))
                self.at(self.now, lambda: self.tell(fetched))
            case actions.Measure():
                self.tell(events.Measured(self.limits.budget))
            case actions.Start(started, generation):
                self.at(self.now + START, lambda: self._ready(started.key, generation))
            case actions.Stop(key, generation):
                self._alive.pop(generation, None)
                gone = events.Gone(key, generation, 0)
                self.at(self.now + 1.0, lambda: self.tell(gone))
            case actions.Probe():
                self.at(self.now + PROBE, lambda: self._probed(action))
            case actions.Tell(message):
                self.told.append(message)


def steadily(world: World, every: float, until: float, **ask: float | str) -> None:
    """Send requests at intervals, whatever happened to earlier ones."""

    def again() -> None:
        world.ask(Ask(**ask))  # type: ignore[arg-type]
        if world.now + every < until:
            world.at(world.now + every, again)

    again()


def obstinately(world: World, ask: Callable[[], Ask], pause: float = 0.1) -> None:
    """Send a new one as soon as the previous one has failed, or when its error allows."""

    def again() -> None:
        one = ask()
        one.done = ended
        world.ask(one)

    def ended(one: Ask) -> None:
        wait = one.error.retry_after if one.error else None
        world.at(world.now + (wait or pause), again)

    again()
