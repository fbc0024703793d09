"""Measures what a request waited for: room, or the loading of its model.

It reads the pool's events and actions, and decides nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from router.models import EngineKey
from router.scheduler import actions, events

_STEPS = 32  # per model; a request waits through only a few
_MODELS = 1024  # remembered models
_FETCH, _START, _WAKE = "fetch", "start", "wake"


class Temperature:
    """Whether a request found its model loaded, asleep, or neither."""

    HIT = "hit"  # its engine was up
    WAKE = "wake"  # its engine slept
    COLD = "cold"  # it had no engine, or its engine was still starting


@dataclass(frozen=True, slots=True)
class LoadStep:
    """A download, a start or a wake-up. Times are in seconds before the end of the wait."""

    name: str  # "fetch", "start" or "wake"
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Waited:
    """How long a request waited for its engine, in seconds.

    * `queue`: for room, or for a place among the requests in flight.
    * `load`: while the model was downloaded, started or woken.
    * `steps`: the steps of `load`, first one first.
    """

    queue: float
    load: float
    temperature: str  # see `Temperature`
    steps: tuple[LoadStep, ...] = field(default=(), compare=False)


AT_ONCE = Waited(0.0, 0.0, Temperature.HIT)


@dataclass(slots=True)
class _Step:
    name: str  # as in `LoadStep`
    began: float
    ended: float | None = None

    def end(self, now: float) -> None:
        self.ended = now


class LoadTimes:
    """When each model was downloaded, started or woken. Times are by the pool's clock."""

    def __init__(self) -> None:
        self._steps: dict[EngineKey, deque[_Step]] = {}

    def note(self, now: float, event: events.Event, done: Sequence[actions.Action]) -> None:
        """Note an event and the resulting actions, before they are performed."""
        if isinstance(
            event,
            events.Fetched
            | events.FetchFailed
            | events.Healthy
            | events.StartFailed
            | events.Awake
            | events.Gone,
        ):
            self._end(event.key, now)
        for action in done:
            match action:
                case actions.Fetch(spec):
                    self._begin(_FETCH, spec.key, now)
                case actions.Start(spec):
                    self._begin(_START, spec.key, now)
                case actions.Wake(key):
                    self._begin(_WAKE, key, now)
                case actions.CancelFetch(key) | actions.Stop(key):
                    self._end(key, now)
                case _:
                    pass

    def waited(self, key: EngineKey, since: float, now: float) -> Waited:
        """What a request for `key` waited for, from `since` to `now`."""
        steps = tuple(
            LoadStep(
                step.name,
                now - max(step.began, since),
                0.0 if step.ended is None else now - step.ended,
            )
            for step in self._within(key, since)
        )
        load = sum(step.began - step.ended for step in steps)
        names = {step.name for step in steps}
        temperature = (
            Temperature.COLD
            if names - {_WAKE}
            else Temperature.WAKE
            if names
            else Temperature.HIT
        )
        return Waited(max(0.0, now - since - load), load, temperature, steps)

    def _within(self, key: EngineKey, since: float) -> Iterator[_Step]:
        for step in self._steps.get(key, ()):
            if step.ended is None or step.ended >= since:
                yield step

    def _begin(self, name: str, key: EngineKey, now: float) -> None:
        self._end(key, now)
        steps = self._steps.pop(key, None) or deque(maxlen=_STEPS)
        steps.append(_Step(name, now))
        self._steps[key] = steps  # latest last
        if len(self._steps) > _MODELS:
            del self._steps[next(iter(self._steps))]

    def _end(self, key: EngineKey, now: float) -> None:
        steps = self._steps.get(key)
        if steps and steps[-1].ended is None:
            steps[-1].end(now)
