"""Simulates a machine and its callers in virtual time, with any scheduler.

The scheduler takes the events of `router.scheduler` and returns its actions. `Scheduler` itself
fits, and so do those in `rivals.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Protocol

from router.scheduler import actions, events
from router.simulation.agenda import Agenda
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.broken import must
from router.simulation.card import Card, ExactCard
from router.simulation.machine import SimulatedMachine
from router.simulation.model_specs import ModelSpecs
from router.simulation.records import OpenRequests, RequestOutcome, SimulatedEngine

QUEUE_TIMEOUT = 480.0  # the setting's default for RunPod's queue
_TICKS_AT_ONCE = 1000  # more without time passing mean an endless loop


class Decider(Protocol):
    @property
    def wake_at(self) -> float: ...

    def handle(self, event: events.Event, now: float) -> list[actions.Action]: ...


class World:
    """Runs one trace. `outcomes` and the machine's `totals` hold the results.

    `card` is the machine's first device, `further` are the others. `specs` are those of the
    trace's models, if many worlds share them.
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
        self.trace, self.decider = trace, decider
        self.outcomes: list[RequestOutcome] = []
        self.open = OpenRequests()
        self._agenda = Agenda()
        self._specs = specs or ModelSpecs(trace.models, declared=declared)
        cards = (card or ExactCard(trace.machine.device), *further)
        self.machine = SimulatedMachine(
            trace.machine, self._specs, cards, self._agenda, self.tell
        )
        self._patience, self._after_each = patience, after_each
        self._ticks = 0  # since time has passed

    def run(self) -> None:
        """Run until every request has ended and nothing is due."""
        ahead = iter(self.trace.requests)
        request = next(ahead, None)
        open_until = self.trace.lasts + self._patience
        while True:
            asked = request.at if request is not None else inf
            planned, wake = self._agenda.next_at, self._wake
            if min(asked, planned) == inf and (wake == inf or self.now > open_until):
                return
            if request is not None and asked < planned and asked <= wake:
                self.ask(request)
                request = next(ahead, None)
            else:
                self.step()

    @property
    def due(self) -> float:
        """When something happens next, unless a request comes before; `inf` if nothing does."""
        return min(self._agenda.next_at, self._wake)

    @property
    def now(self) -> float:
        return self._agenda.now

    @property
    def _wake(self) -> float:
        return max(self.decider.wake_at, self.now)

    def step(self) -> None:
        """Do the next thing that is due."""
        wake = self._wake
        self._ticks = self._ticks + 1 if wake == self.now else 0
        if self._ticks > _TICKS_AT_ONCE:
            raise RuntimeError(f"time stands still at {self.now}")
        if wake < self._agenda.next_at:
            self._agenda.now = wake
            self.tell(events.Tick())
        else:
            self._agenda.go_on()

    def tell(self, event: events.Event) -> None:
        done = self.decider.handle(event, self.now)
        if self._after_each is not None:
            self._after_each()
        for action in done:
            self._perform(action)

    def ask(self, arrival: Arrival) -> None:
        """Add a request. Nothing may be due before its time."""
        self._agenda.now, self._ticks = arrival.at, 0
        number = len(self.outcomes)
        self.outcomes.append(RequestOutcome(self.now, arrival.model, arrival.tokens))
        self.open.begin(arrival.model, self.now)
        deadline = self.now + self._patience
        spec = self._specs[arrival.model]
        self.tell(events.Wanted(number, number, spec, "", deadline, arrival.caller))

    def _granted(self, number: int, generation: int) -> None:
        outcome = self.outcomes[number]
        must(outcome.waits, "granted twice, or after a failure")
        outcome.granted = self.now
        engine = self.machine.begin(generation)
        seconds = outcome.tokens * self.trace.machine.token
        self._agenda.at(seconds, partial(self._answered, number, engine))

    def _answered(self, number: int, engine: SimulatedEngine) -> None:
        outcome = self.outcomes[number]
        outcome.ended = self.now
        self.open.end(outcome.model, self.now)
        self.machine.end(engine)
        self.tell(events.Released(number, answered=True))

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Grant(waiter, _, generation):
                self._granted(waiter, generation)
            case actions.Fail(waiter, error):
                outcome = self.outcomes[waiter]
                outcome.failed, outcome.ended = error.code, self.now
                self.open.end(outcome.model, self.now)
            case actions.Alarm(message, leave):
                must(not leave, message)
            case _:
                self.machine.perform(action)
