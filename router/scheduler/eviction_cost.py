"""Computes what it costs to evict an engine.

The cost is the time that its return takes, divided by the expected time until it is needed
again and by the bytes that it holds. That is the cost per second of not having the engine.
Compare the GreedyDual-Size-Frequency rule of caches (Cherkasova, 1998), which uses a counter
for aging instead.
"""

from __future__ import annotations

from router.scheduler.limits import Eviction
from router.scheduler.pace import Pace
from router.scheduler.state import Slot


def eviction_cost(slot: Slot, pace: Pace, eviction: Eviction) -> float:
    """The higher, the later this engine is evicted."""
    if eviction is Eviction.LRU:
        return slot.last_used
    return (
        pace.comes_back_in(slot) / _interval(slot, pace) / max(slot.held * len(slot.devices), 1)
    )


def eviction_cost_asleep(slot: Slot, pace: Pace, eviction: Eviction) -> float:
    """The higher, the longer its weights stay in host memory. Uses the cost of a start per byte
    of host memory."""
    if eviction is Eviction.LRU:
        return slot.last_used
    return pace.starts_in(slot) / _interval(slot, pace) / max(slot.weights, 1)


def _interval(slot: Slot, pace: Pace) -> float:
    return max(slot.demand.interval(pace.now), 1e-3)
