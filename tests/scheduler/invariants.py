"""What must hold after every event, read off the pool's books."""

from __future__ import annotations

from router.scheduler.books import Books
from router.scheduler.lifecycle import State
from router.scheduler.machine import Machine


def check(machine: Machine) -> None:
    books = machine._books
    limits = books.limits
    for slot in books.slots.values():
        for waiter in (*slot.queue, *slot.leases):
            assert books._holders[waiter] is slot, "a waiter is in two places"
        assert not slot.leases or slot.state in (State.READY, State.DRAINING), "lost lease"
        assert len(slot.leases) <= limits.max_concurrency, "over MAX_CONCURRENCY"
        assert slot.state is not State.COLD or not slot.queue, "nobody fetches for a waiter"
        assert slot.linger_until is None or not slot.queue, "lingering with waiters"
        assert slot.state is not State.FETCHED or slot.snapshot.parts, "FETCHED without files"
        free = slot.state is State.READY and len(slot.leases) < limits.max_concurrency
        assert not (free and slot.queue), "a waiter is kept from a free engine"
    _check_totals(books)


def _check_totals(books: Books) -> None:
    slots = books.slots.values()
    held = sum(len(slot.queue) + len(slot.leases) for slot in slots)
    assert held == len(books._holders), "a waiter without a place"
    assert sum(slot.held for slot in slots) <= books.limits.budget, "over the budget"
    loaded = sum(slot.state.claims for slot in slots)
    assert loaded <= (books.limits.max_loaded or loaded), "over MAX_LOADED_MODELS"
    starting = sum(slot.state is State.STARTING for slot in slots)
    assert starting <= 1, "two engines load at once"
