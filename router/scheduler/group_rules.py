"""Group rules: which models may be loaded together.

Like MAX_LOADED_MODELS, a group applies to the whole worker, across all devices. A sleeping
engine is not loaded. A stopping engine is loaded until it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from router.models import ModelGroup
from router.scheduler.lifecycle import State
from router.scheduler.state import Slot


class LoadedGroups:
    """Counts the loaded engines per group. The key None counts those without a group."""

    __slots__ = ("_loaded",)

    def __init__(self, loaded: dict[ModelGroup | None, int] | None = None) -> None:
        self._loaded = {} if loaded is None else loaded

    @classmethod
    def of(cls, slots: Iterable[Slot]) -> LoadedGroups:
        made = cls()
        for slot in slots:
            made.change(slot.spec.group, slot.loaded)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoadedGroups) and self._present == other._present

    __hash__ = None  # type: ignore[assignment]

    @property
    def _present(self) -> dict[ModelGroup | None, int]:
        return {group: engines for group, engines in self._loaded.items() if engines}

    def copy(self) -> LoadedGroups:
        return LoadedGroups(self._loaded.copy())

    def change(self, group: ModelGroup | None, engines: int) -> None:
        """Add to the count of loaded engines of a group. The number may be negative."""
        if engines:
            self._loaded[group] = self._loaded.get(group, 0) + engines

    def add(self, other: LoadedGroups) -> None:
        for group, engines in other._loaded.items():
            self.change(group, engines)

    def bar(self, group: ModelGroup | None) -> ModelGroup | None:
        """The group whose rule forbids one more model of `group`; None if it may be loaded."""
        if (exclusive := self.excluded(group)) is not None or group is None:
            return exclusive
        own, most = 0, group.max_loaded
        for one, engines in self._loaded.items():
            if one is not None and one.name == group.name and engines > 0:
                own, most = own + engines, max(most, one.max_loaded)
        return group if own >= most else None

    def excluded(self, group: ModelGroup | None) -> ModelGroup | None:
        """Like `bar`, but considers only exclusive groups and not the limits of groups."""
        for one, engines in self._loaded.items():
            if engines > 0 and (rule := ModelGroup.between(group, one)) is not None:
                return rule
        return None

    def first_to_leave(self, group: ModelGroup | None, slots: Iterable[Slot]) -> Iterator[Slot]:
        """Yield the engines in the same order, except that those that must stop for `group`
        come first."""
        left = self.copy()
        others: list[Slot] = []
        for slot in slots:
            if slot.loaded and may_bar(slot.spec.group, group) and left.bar(group) is not None:
                left.change(slot.spec.group, -1)
                yield slot
            else:
                others.append(slot)
        yield from others


def may_bar(one: ModelGroup | None, other: ModelGroup | None) -> bool:
    """Whether a group rule could require a model of one group to stop for one of the other."""
    same = one is not None and other is not None and one.name == other.name
    return same or ModelGroup.between(one, other) is not None


def stays(slot: Slot) -> bool:
    """Whether an engine is loaded and nothing has told it to stop or sleep."""
    leaves = slot.unloads or slot.state in (State.STOPPING, State.FALLING_ASLEEP)
    return slot.loaded and not leaves


def surplus(slots: Iterable[Slot]) -> list[tuple[Slot, ModelGroup]]:
    """The engines that may not stay beside the earlier ones, each with the group that forbids
    it. Pinned engines always stay."""
    loaded = LoadedGroups()
    found: list[tuple[Slot, ModelGroup]] = []
    for slot in slots:
        if (bar := loaded.bar(slot.spec.group)) is not None and not slot.pinned:
            found.append((slot, bar))
        else:
            loaded.change(slot.spec.group, slot.loaded)
    return found
