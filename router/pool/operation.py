"""What the operator does with engines: unloads, pins, and rules them."""

from __future__ import annotations

from collections.abc import Callable

from router.models import EngineKey, EngineSpec
from router.scheduler import events
from router.scheduler.company import stays
from router.scheduler.lifecycle import State
from router.scheduler.machine import Scheduler


class OperatedEngines:
    """Made by `EnginePool`, whose `feed` takes events to the scheduler."""

    def __init__(self, scheduler: Scheduler, feed: Callable[[events.Event], None]) -> None:
        self._scheduler, self._feed = scheduler, feed
        self._ruled: Callable[[EngineSpec], EngineSpec] | None = None  # as `rule` was told last

    def listed(self) -> list[EngineSpec]:
        """The operator's models that are up, come, or have a process."""
        return [
            slot.spec
            for slot in self._scheduler.slots.values()
            if slot.spec.listed
            and (slot.standby or slot.state not in (State.COLD, State.FETCHED))
        ]

    def unload(self, key: EngineKey) -> None:
        """Stop an engine: now if it is idle, else after its requests in flight."""
        self._feed(events.Unload(key))

    def pin(self, key: EngineKey) -> None:
        """Let an engine neither make room nor expire, until it is unpinned or unloaded."""
        self._feed(events.Pin(key))

    def unpin(self, key: EngineKey) -> None:
        self._feed(events.Unpin(key))

    def rule(self, ruled: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        """Have all engines kept to other rules, those of the specs that `ruled` returns. No
        process depends on them. They hold until the next call, also for engines to come.
        Returns the engines that leave because of these rules."""
        self._ruled = ruled
        slots = tuple(self._scheduler.slots.values())
        changed = tuple(new for slot in slots if (new := ruled(slot.spec)) != slot.spec)
        stayed = [slot for slot in slots if stays(slot)]
        if changed:
            self._feed(events.Ruled(changed))
        return [slot.key for slot in stayed if not stays(slot)]

    def kept_to_rules(self, spec: EngineSpec) -> EngineSpec:
        """With the rules in force: the request may have been authorized under former ones. An
        engine that is up has been told of them."""
        if self._ruled is None:
            return spec
        slot = self._scheduler.slots.get(spec.key)
        return spec if slot is not None and slot.state.claims else self._ruled(spec)
