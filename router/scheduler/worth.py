"""Which engine is the least loss.

An engine is worth the time that its return will cost, divided by the time until it is wanted
back, for each byte that it holds. That is the cost per second of not having it. Compare the
GreedyDual-Size-Frequency rule of caches (Cherkasova, 1998), which ages by a counter instead.
"""

from __future__ import annotations

from router.scheduler.limits import Eviction
from router.scheduler.pace import Pace
from router.scheduler.state import Slot


def worth(slot: Slot, pace: Pace, eviction: Eviction) -> float:
    """The higher, the later this engine makes room."""
    if eviction is Eviction.LRU:
        return slot.last_used
    return (
        pace.comes_back_in(slot) / _interval(slot, pace) / max(slot.held * len(slot.devices), 1)
    )


def worth_asleep(slot: Slot, pace: Pace, eviction: Eviction) -> float:
    """The higher, the longer its weights stay in the host's memory: what a start costs, for
    each byte there."""
    if eviction is Eviction.LRU:
        return slot.last_used
    return pace.starts_in(slot) / _interval(slot, pace) / max(slot.weights, 1)


def _interval(slot: Slot, pace: Pace) -> float:
    return max(slot.demand.interval(pace.now), 1e-3)
