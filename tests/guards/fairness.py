"""What one caller takes is bounded, with no setting, while another one waits."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, never, swap

_WAITING = "tests/scheduler/test_waiting.py::test_"
_POOL = "tests/pool/test_quotas.py::test_"

GUARDS = (
    Guard(
        "A free place goes to the caller with the fewest requests in flight",
        "router.scheduler.fairness:turns",
        swap("held[one.caller]", "0"),
        _POOL + "of_two_callers_the_one_with_fewer_requests_in_flight_is_next",
    ),
    Guard(
        "QueuePlaces that become free at once are dealt in turn",
        "router.scheduler.fairness:turns",
        swap("count + 1", "count"),
        _WAITING + "many_places_that_become_free_at_once_are_dealt_in_turn",
    ),
    Guard(
        "A caller's requests in flight are limited for each engine",
        "router.scheduler.fairness:turns",
        never("most", "count"),
        _WAITING + "no_caller_gets_more_places_than_it_may_have",
    ),
    Guard(
        "A new request does not pass by the limit of requests in flight",
        "router.scheduler.state:Slot.accepts",
        swap("sum(_) < most", "True"),
        _POOL + "a_callers_requests_in_flight_are_limited_for_each_engine",
    ),
    Guard(
        "In a full queue, another caller's request takes a place of the caller with the most",
        "router.scheduler.waiting:QueuePlaces.given_up_for",
        body("return None"),
        _POOL + "a_caller_with_many_waiting_requests_gives_up_its_newest_for_another_caller",
    ),
    Guard(
        "A caller with as many places as the others takes none of theirs",
        "router.scheduler.waiting:QueuePlaces.given_up_for",
        swap("self.of(caller) + 2", "0"),
        _WAITING + "no_place_is_given_up_for_a_caller_that_would_have_as_many",
    ),
    Guard(
        "The operator's own requests give up no place",
        "router.scheduler.waiting:QueuePlaces._rank",
        never("caller"),
        _WAITING + "the_operators_requests_and_those_tried_again_give_up_no_place",
    ),
)
