"""Turns the pool's events and actions into entries of a timeline.

An entry says what happened to which model, and when. Requests have no entries: there may be
thousands a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from router.models import EngineKey
from router.scheduler import actions, events
from router.scheduler.lifecycle import Cause

_DISMISSED = "dismissed"  # a process that was started ahead
_TOLD: Mapping[type[events.Event], str] = {
    events.Fetched: "downloaded",
    events.FetchFailed: "download_failed",
    events.Standing: "stands_by",
    events.Healthy: "ready",
    events.Asleep: "asleep",
    events.Awake: "awake",
    events.Gone: "gone",
    events.ShutDown: "leaving",
    events.Thawed: "thawed",
}
_CAUSES = frozenset(map(str, Cause))


@dataclass(frozen=True, slots=True)
class Happening:
    """An entry of the timeline.

    `at` is by the pool's clock. `key` is None if the entry is about the whole worker.
    `generation` is None for a download. `text` has details for the operator.
    """

    at: float
    what: str
    key: EngineKey | None = None
    generation: int | None = None
    text: str = ""


def happenings(
    now: float, event: events.Event, decided: Sequence[actions.Action]
) -> Iterator[Happening]:
    """The entries for an event and for the actions that it caused."""
    if (what := _TOLD.get(type(event))) is not None:
        key, generation = getattr(event, "key", None), getattr(event, "generation", None)
        text = event.error.message if isinstance(event, events.FetchFailed) else ""
        yield Happening(now, what, key, generation, text)
    for action in decided:
        yield from _done(now, action)


def _done(now: float, action: actions.Action) -> Iterator[Happening]:
    match action:
        case actions.Fetch(spec):
            yield Happening(now, "downloading", spec.key)
        case actions.CancelFetch(key):
            yield Happening(now, "download_ended", key)
        case actions.Prestart(spec, generation):
            yield Happening(now, "prestarting", spec.key, generation)
        case actions.Start(spec, generation):
            yield Happening(now, "starting", spec.key, generation)
        case actions.Sleep(key, generation):
            yield Happening(now, "falling_asleep", key, generation, action.for_whom)
        case actions.Wake(key, generation):
            yield Happening(now, "waking", key, generation)
        case actions.Stop():
            yield _stopped(now, action)
        case actions.Alarm(message):
            yield Happening(now, "alarm", text=message)


def _stopped(now: float, stop: actions.Stop) -> Happening:
    cause, _, detail = stop.why.partition(": ")
    if cause not in _CAUSES:
        return Happening(now, _DISMISSED, stop.key, stop.generation, stop.why)
    text = detail or stop.for_whom
    return Happening(now, cause.replace(" ", "_"), stop.key, stop.generation, text)
