"""Who waits for what, who holds what, and what is to be done: the pool's bookkeeping.

Each method leaves the books consistent; deciding when to call it is the machine's part.
"""

from __future__ import annotations

from router.errors import RouterError
from router.models import EngineKey
from router.scheduler.actions import (
    Action,
    Allotment,
    CancelFetch,
    Fail,
    Fetch,
    Grant,
    Start,
    Stop,
)
from router.scheduler.events import Wanted
from router.scheduler.lifecycle import Cause, State
from router.scheduler.slots import LONGEST_BACKOFF, Limits, Slot, Waiter

DORMANT = 32  # downloaded models without an engine that are remembered


class Books:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.slots: dict[EngineKey, Slot] = {}
        self.written_off = 0  # bytes that are missing on the device
        self.orders: list[Action] = []
        self._holders: dict[int, Slot] = {}  # by waiter: queued, granted or taken
        self._serial = 0  # of starts and downloads; never given twice

    @property
    def queued(self) -> int:
        return sum(len(slot.queue) for slot in self.slots.values())

    @property
    def calm(self) -> bool:
        """Nobody waits and nobody drains: nothing to plan."""
        return not any(
            slot.queue or slot.state is State.DRAINING for slot in self.slots.values()
        )

    def slot(self, event: Wanted) -> Slot:
        """The slot of what is wanted, told of the latest settings while it may change."""
        slot = self.slots.get(event.spec.key)
        if slot is None:
            slot = self.slots[event.spec.key] = Slot(event.spec, 0)
        if not slot.state.claims:
            slot.spec = event.spec
            slot.claim = self.limits.claim(event.spec, self.written_off)
        return slot

    # --- waiters and leases ----------------------------------------------------

    def enqueue(self, slot: Slot, event: Wanted) -> Waiter:
        waiter = Waiter(event.waiter, event.age, event.payer, event.deadline, event.caller)
        slot.queue[waiter.id] = waiter
        slot.linger_until = None
        self._holders[waiter.id] = slot
        return waiter

    def dequeue(self, waiter: int, now: float) -> bool:
        """Take a waiter out of the queue; False where it is not queued (any more)."""
        slot = self._holders.get(waiter)
        if slot is None or waiter not in slot.queue:
            return False
        del slot.queue[waiter], self._holders[waiter]
        if slot.state is State.FETCHING and not slot.queue:
            slot.linger_until = now + self.limits.fetch_linger
        return True

    def fail(self, slot: Slot, error: RouterError, *, payer: str | None = None) -> None:
        """Fail the waiters of a slot: all, or those with one credential."""
        for waiter in tuple(slot.queue.values()):
            if payer is None or waiter.payer == payer:
                del slot.queue[waiter.id], self._holders[waiter.id]
                self.orders.append(Fail(waiter.id, error))

    def grant(self, slot: Slot, now: float) -> None:
        """Put waiters in flight, the oldest first, as far as the engine takes them."""
        for waiter in slot.by_age:
            if len(slot.leases) >= self.limits.max_concurrency:
                break
            if slot.idle:
                slot.last_progress = now
            del slot.queue[waiter.id]
            slot.leases[waiter.id] = waiter
            slot.last_used = now
            slot.used_by(waiter.caller)
            self.orders.append(Grant(waiter.id, slot.key, slot.generation))

    def release(self, waiter: int, now: float) -> Slot | None:
        """End a lease; None where its engine crashed, or was cut off, under it."""
        slot = self._holders.pop(waiter, None)
        if slot is not None:
            del slot.leases[waiter]
            slot.last_used = now
        return slot

    # --- downloads -------------------------------------------------------------

    def want(self, slot: Slot) -> None:
        """Begin to download for the oldest who waits; each credential may pay once."""
        slot.move(Cause.WANTED)
        slot.refused.clear()
        self.fetch(slot, slot.by_age[0])

    def fetch(self, slot: Slot, payer: Waiter) -> None:
        slot.attempt = self._next()
        slot.paying = payer.payer
        self.orders.append(Fetch(slot.spec, slot.attempt, payer.id, payer.caller))

    def abandon_fetch(self, slot: Slot) -> None:
        slot.move(Cause.ABANDONED)
        slot.linger_until = None
        self.orders.append(CancelFetch(slot.key, slot.attempt))

    def forget_snapshot(self, repo_id: str, commit: str) -> None:
        """Forget that a model is on disk, where nobody waits for it."""
        for key, slot in self.slots.items():
            this = (key.repo_id, key.commit) == (repo_id, commit)
            if this and slot.state is State.FETCHED and not slot.queue:
                slot.move(Cause.REMOVED)

    # --- engines ---------------------------------------------------------------

    def start(self, slot: Slot, free: int) -> None:
        slot.move(Cause.ADMITTED)
        slot.generation = self._next()
        whole = slot.claim >= self.limits.budget - self.written_off
        allotment = Allotment(slot.claim, free, whole, slot.smaller)
        self.orders.append(Start(slot.spec, slot.generation, slot.snapshot, allotment))

    def ready(self, slot: Slot, now: float) -> None:
        slot.move(Cause.HEALTHY)
        slot.ready_at = slot.last_used = slot.last_progress = now
        slot.answered = slot.probing = False
        self.grant(slot, now)

    def stop(self, slot: Slot, cause: Cause, why: str) -> None:
        """End an engine. Leases that it still has are cut off: their reports are stale."""
        slot.move(cause)
        slot.drain_deadline = None
        for waiter in slot.leases:
            del self._holders[waiter]
        slot.leases.clear()
        at_once = cause in (Cause.CRASHED, Cause.EXPIRED)
        self.orders.append(Stop(slot.key, slot.generation, why, at_once))

    def gone(self, slot: Slot, missing: int) -> None:
        """Close the book on an engine; claims that are shares follow what is left."""
        verify_files, slot.verify_files = slot.verify_files, False
        slot.move(Cause.VERIFY_FILES if verify_files else Cause.GONE)
        if verify_files and slot.queue:
            self.want(slot)
        self.written_off = missing
        for other in self.slots.values():
            if not other.state.claims:
                other.claim = self.limits.claim(other.spec, missing)

    def sweep(self, now: float) -> None:
        """Forget what nobody wants: failed downloads, then the models longest unused."""
        for key, slot in tuple(self.slots.items()):
            blamed = slot.failures and now < slot.retry_at + LONGEST_BACKOFF
            if slot.state is State.COLD and not slot.queue and not blamed:
                del self.slots[key]
        dormant = [
            slot
            for slot in self.slots.values()
            if slot.state is State.FETCHED and not slot.queue and now >= slot.retry_at
        ]
        for slot in sorted(dormant, key=lambda slot: slot.last_used)[:-DORMANT]:
            del self.slots[slot.key]

    def _next(self) -> int:
        self._serial += 1
        return self._serial
