"""The state that every rival keeps: who waits, and what is loaded. Its rule decides the
rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from router.errors import DeadlineExceeded
from router.models import EngineKey, EngineSpec
from router.scheduler import actions, events
from router.scheduler.actions import Action
from router.scheduler.events import Wanted
from router.simulation.hardware import Hardware, Model

MAX_CONCURRENCY = 64  # the scheduler's default


@dataclass(slots=True, eq=False)
class Loaded:
    key: EngineKey
    bytes: int
    load_seconds: float
    generation: int
    ready: bool = False
    stopping: bool = False
    served: bool = False  # has served a request since its start
    in_flight: set[int] = field(default_factory=set)
    last_used: float = 0.0

    @property
    def idle(self) -> bool:
        return self.ready and not self.in_flight

    @property
    def takes_more(self) -> bool:
        return self.ready and not self.stopping and len(self.in_flight) < MAX_CONCURRENCY


@dataclass(slots=True, eq=False)
class Swap:
    """An engine that starts when its victims are gone."""

    spec: EngineSpec
    victims: set[int]  # generations


class Board:
    """A `Decider` that follows a rule."""

    def __init__(
        self, machine: Hardware, models: Sequence[Model], rule: Callable[[Board], None]
    ) -> None:
        self.machine, self.models, self._rule = machine, models, rule
        self.now = 0.0
        self._by_name = {f"bench/{model.name}": model for model in models}
        self.failures = 0
        self.look_again_at = inf  # set by a rule that waits for some time
        self._waiting: dict[EngineKey, dict[int, Wanted]] = {}  # in order of arrival
        self._holders: dict[int, Loaded] = {}  # by waiter
        self._loaded: dict[EngineKey, Loaded] = {}
        self._swaps: dict[EngineKey, Swap] = {}
        self._numbers = itertools.count(1)
        self._actions: list[Action] = []

    # --- what decides ----------------------------------------------------------------

    @property
    def wake_at(self) -> float:
        due = min((oldest.deadline for oldest in self.oldest()), default=inf)
        return min(due, self.look_again_at)

    def handle(self, event: events.Event, now: float) -> list[Action]:
        self.now, self._actions, self.look_again_at = now, [], inf
        match event:
            case events.Wanted():
                self._waiting.setdefault(event.spec.key, {})[event.waiter] = event
            case events.Released(waiter):
                self._release(waiter)
            case events.Healthy(key):
                self._loaded[key].ready, self._loaded[key].last_used = True, now
            case events.Gone(key, generation):
                del self._loaded[key]
                self._go_on(generation)
        while (request := next(self.oldest(), None)) and request.deadline <= now:
            self._leave(request)
            self.failures += 1
            late = DeadlineExceeded("The caller waited for too long.")
            self._actions.append(actions.Fail(request.waiter, late))
        self._rule(self)
        return self._actions

    def _leave(self, request: Wanted) -> None:
        line = self._waiting[request.spec.key]
        del line[request.waiter]
        if not line:
            del self._waiting[request.spec.key]

    def _release(self, waiter: int) -> None:
        engine = self._holders.pop(waiter)
        engine.in_flight.remove(waiter)
        engine.last_used = self.now

    def _go_on(self, gone: int) -> None:
        for key, swap in tuple(self._swaps.items()):
            swap.victims.discard(gone)
            if not swap.victims:
                del self._swaps[key]
                self._start(swap.spec)

    # --- what a rule sees ------------------------------------------------------------

    def oldest(self) -> Iterator[Wanted]:
        """The longest-waiting request of each model, the oldest of them first."""
        heads = [next(iter(line.values())) for line in self._waiting.values()]
        return iter(sorted(heads, key=lambda head: head.age))

    def engine(self, request: Wanted) -> Loaded | None:
        """The engine for this request, ready or starting; None if there is none."""
        engine = self._loaded.get(request.spec.key)
        return None if engine is None or engine.stopping else engine

    def coming(self, request: Wanted) -> bool:
        """Whether its swap has begun, or its former engine is still stopping."""
        key = request.spec.key
        return key in self._swaps or key in self._loaded

    @property
    def swapping(self) -> bool:
        return bool(self._swaps) or any(not one.ready for one in self._loaded.values())

    @property
    def count(self) -> int:
        return len(self._loaded) + len(self._swaps)

    def up(self) -> list[Loaded]:
        """The engines that are ready or starting, and not stopping."""
        return [one for one in self._loaded.values() if not one.stopping]

    def idle(self) -> list[Loaded]:
        return [one for one in self.up() if one.idle]

    def missing(self, request: Wanted) -> int:
        """Bytes that must still be freed for this model, beyond those being freed."""
        taken = sum(one.bytes for one in self.up())
        taken += sum(swap.spec.memory or 0 for swap in self._swaps.values())
        stuck = [
            one for one in self._loaded.values() if one.stopping and not self._awaited(one)
        ]
        taken += sum(one.bytes for one in stuck)
        return taken + (request.spec.memory or 0) - self.machine.device

    def _awaited(self, engine: Loaded) -> bool:
        return any(engine.generation in swap.victims for swap in self._swaps.values())

    # --- what a rule does ------------------------------------------------------------

    def line(self, request: Wanted) -> list[Wanted]:
        """All requests that wait for the same model, oldest first."""
        return list(self._waiting[request.spec.key].values())

    def grant_all(self, request: Wanted, engine: Loaded) -> None:
        """Serve all requests that wait for this engine, up to its limit."""
        for one in self.line(request):
            if not engine.takes_more:
                return
            self.grant(one, engine)

    def grant(self, request: Wanted, engine: Loaded) -> None:
        self._leave(request)
        engine.in_flight.add(request.waiter)
        engine.last_used, engine.served = self.now, True
        self._holders[request.waiter] = engine
        self._actions.append(actions.Grant(request.waiter, engine.key, engine.generation))

    def swap(self, request: Wanted, victims: Sequence[Loaded]) -> None:
        """Stop these engines, then start that of the request."""
        for victim in victims:
            victim.stopping = True
            stop = actions.Stop(victim.key, victim.generation, "evicted", at_once=False)
            self._actions.append(stop)
        stopping = {one.generation for one in self._loaded.values() if one.stopping}
        if stopping:
            self._swaps[request.spec.key] = Swap(request.spec, stopping)
        else:
            self._start(request.spec)

    def _start(self, spec: EngineSpec) -> None:
        model = self._by_name[spec.model.repo_id]
        generation = next(self._numbers)
        seconds = self.machine.cold_start(model.weights)
        self._loaded[spec.key] = Loaded(
            spec.key, model.bytes, seconds, generation, last_used=self.now
        )
        allotment = actions.Allotment(model.bytes, model.bytes, whole=False)
        self._actions.append(actions.Start(spec, generation, Path("/snapshot"), allotment))
