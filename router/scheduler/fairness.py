"""Decides whose turn it is when several callers compete.

A caller that is alone may use everything. docs/sharing.md explains the constants below.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import takewhile
from math import inf

from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from router.scheduler.state import Slot
from router.scheduler.waiting import Caller

# The minimum time for a contested start of a model that the operator did not list: enough for a
# slow machine to start any engine and for a slow disk to read the weights.
SHORTEST_TURN = 120.0  # seconds
SLOWEST_DISK = 100e6  # bytes per second

HALF_LIFE = 300.0  # half of a caller's charged start time is forgotten after so many seconds
ALLOWANCE = 60.0  # start seconds that do not affect a caller's turn
_FORGOTTEN = 12 * HALF_LIFE  # by then, less than a second is left of any charge

RECENT = 300.0  # seconds; an engine that was used within this time counts as held by its caller


class StartSeconds:
    """The seconds that engines spent starting for each caller, whether or not they became
    ready.

    One engine at a time starts on a device. So the charges of all callers together are at most
    `HALF_LIFE / ln 2` seconds per device plus one start, and few callers can exceed the
    allowance.
    """

    def __init__(self) -> None:
        # Seconds, and the time of that value. The caller charged last is the last entry.
        self._charged: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._charged)

    def charge(self, caller: Caller, seconds: float, now: float) -> None:
        if caller is None:
            return
        before = self._left(caller, now)
        self._charged.pop(caller, None)
        self._charged[caller] = before + seconds, now
        first = takewhile(lambda one: one[1][1] + _FORGOTTEN <= now, self._charged.items())
        for other, _ in list(first):
            del self._charged[other]

    def over_allowance(self, now: float) -> set[str]:
        """The callers that have used more than the allowance."""
        return {one for one in self._charged if self._left(one, now) > ALLOWANCE}

    def overdraft(self, callers: Iterable[Caller], now: float) -> float:
        """How far the least charged of these callers is over the allowance, in seconds."""
        least = inf
        for caller in callers:
            least = min(least, max(0.0, self._left(caller, now) - ALLOWANCE))
            if not least:
                break
        return least

    def _left(self, caller: Caller, now: float) -> float:
        charged = self._charged.get(caller) if caller is not None else None
        return charged[0] * 0.5 ** ((now - charged[1]) / HALF_LIFE) if charged else 0.0


def gives_way_at(start: Slot, waiting: Iterable[Slot], limits: Limits) -> float:
    """When a start must end because other models wait for theirs; `inf`: never.

    If no request waits for it, that is when its last caller has had time to come back. If one
    waits, only models that the operator did not list have a limit, which applies while another
    caller waits.
    """
    if start.pinned:
        return inf
    if not start.queue:
        return next((_comes_back_by(start, limits) for _ in waiting), inf)
    others = (c for slot in waiting for c in slot.queue.callers if c != start.started_for)
    if start.spec.listed or not any(True for _ in others):
        return inf
    own = limits.contested_start_timeout
    return start.started_at + (
        SHORTEST_TURN + start.size / SLOWEST_DISK if own is None else own
    )


def _comes_back_by(start: Slot, limits: Limits) -> float:
    """Until when the last caller of a start may come back: for as long as its model had waited
    before it left, up to `fetch_linger`.

    Without this, callers that give up before a start completes and then retry would end each
    other's starts forever. A caller that leaves at once does not keep the device.
    """
    if start.linger_until is None:
        return start.started_at
    left_at = start.linger_until - limits.fetch_linger
    return left_at + min(max(0.0, left_at - start.turn_since), limits.fetch_linger)


def crowded_out(lingering: Iterable[Slot], excess: int) -> list[Slot]:
    """Choose the downloads to end, among those that no request waits for. `excess`: how many
    more run than the limit allows."""
    if excess <= 0:
        return []
    return sorted(lingering, key=lambda slot: (slot.linger_until or 0.0, slot.attempt))[:excess]


class Holdings:
    """How many engines each caller holds or waits for, and the resulting eviction order."""

    def __init__(
        self, engines: Iterable[Slot], waited_for: Mapping[str, int], now: float
    ) -> None:
        """`waited_for`: by caller, the number of models without an engine it waits for."""
        self._now, self._engines = now, tuple(engines)
        self._held: Counter[Caller] = Counter(waited_for)
        self._own: Counter[Caller] = Counter()  # engines that only this caller uses
        self._memory: Counter[Caller] = Counter()  # bytes of these engines
        self._fewest: dict[Slot, int | None] = {}
        for slot in self._engines:
            if slot.state is State.ASLEEP:
                continue
            holder = self._holder(slot)
            self._held[holder] += 1
            if not slot.pinned:
                self._own[holder] += 1
                self._memory[holder] += slot.held * len(slot.devices)

    @cached_property
    def changes_at(self) -> float:
        """When the passing of time lets callers take another engine; `inf`: never."""
        ends = (
            used + RECENT for one in self._engines for used in (one.last_used, one.shared_at)
        )
        return min((end for end in ends if end > self._now), default=inf)

    def may_take(self, slot: Slot, victim: Slot) -> bool:
        """Whether `victim` may make room for `slot`.

        If the callers of `slot` have enough memory for it in engines of their own, they may not
        take an engine from a caller that has no more engines than they have, or one that
        several callers share.
        """
        if slot not in self._fewest:
            self._fewest[slot] = self._fewest_engines(slot)
        fewest = self._fewest[slot]
        if fewest is None:
            return True
        shared = self._now - victim.shared_at < RECENT
        if self._is_stale(victim) or not (shared or victim.user is not None):
            return True
        holder = self._holder(victim)
        own = self._own[holder] if holder is not None else 1
        return holder in slot.queue.callers or own > fewest

    def _fewest_engines(self, slot: Slot) -> int | None:
        """The smallest number of own engines among the callers of `slot`. None: one of them
        lacks the memory for this model in its own engines."""
        callers, claim = slot.queue.callers, slot.claim * slot.span
        if any(caller is None or self._memory[caller] < claim for caller in callers):
            return None
        return min(self._own[caller] for caller in callers)

    def _holder(self, slot: Slot) -> Caller:
        """The only caller that uses an engine now; None for several callers or the operator."""
        shared = self._now - slot.shared_at < RECENT
        return None if shared or self._is_stale(slot) else slot.user

    def _is_stale(self, slot: Slot) -> bool:
        return slot.running and slot.idle and self._now - slot.last_used >= RECENT

    def rank(self, victim: Slot) -> tuple[bool, int]:
        """The eviction order: first engines yielded by quota, then those unused for long, then
        those of the caller that holds the most."""
        holder = self._holder(victim)
        count = self._held[holder] if holder is not None else 1
        order = sys.maxsize if self._is_stale(victim) else count
        return not victim.yielded_by_quota, -order
