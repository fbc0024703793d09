"""The operator's actions on engines: unload, pin, and change the rules."""

from __future__ import annotations

from collections.abc import Callable

from router.models import EngineKey, EngineSpec
from router.scheduler import events
from router.scheduler.group_rules import stays
from router.scheduler.lifecycle import State
from router.scheduler.machine import Scheduler


class OperatedEngines:
    """Created by `EnginePool`. `feed` passes events to the scheduler."""

    def __init__(self, scheduler: Scheduler, feed: Callable[[events.Event], None]) -> None:
        self._scheduler, self._feed = scheduler, feed
        self._ruled: Callable[[EngineSpec], EngineSpec] | None = None  # as `rule` got it last

    def listed(self) -> list[EngineSpec]:
        """The operator's models that are loaded, loading or prestarted."""
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
        """Never evict or expire an engine, until it is unpinned or unloaded."""
        self._feed(events.Pin(key))

    def unpin(self, key: EngineKey) -> None:
        self._feed(events.Unpin(key))

    def rule(self, ruled: Callable[[EngineSpec], EngineSpec]) -> list[EngineKey]:
        """Change the rules of all engines to those of the specs that `ruled` returns.

        No process depends on these rules. They stay in force until the next call, also for new
        engines. Returns the engines that stop because of them.
        """
        self._ruled = ruled
        slots = tuple(self._scheduler.slots.values())
        changed = tuple(new for slot in slots if (new := ruled(slot.spec)) != slot.spec)
        stayed = [slot for slot in slots if stays(slot)]
        if changed:
            self._feed(events.Ruled(changed))
        return [slot.key for slot in stayed if not stays(slot)]

    def kept_to_rules(self, spec: EngineSpec) -> EngineSpec:
        """The spec with the rules in force, because the request may have been authorized under
        earlier ones. An engine that is up already has the current rules."""
        if self._ruled is None:
            return spec
        slot = self._scheduler.slots.get(spec.key)
        return spec if slot is not None and slot.state.claims else self._ruled(spec)
