"""Guards: a caller that does not read holds no engine and no connection."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, swap

_READERS = "tests/http/test_slow_readers.py::test_"

GUARDS = (
    Guard(
        "An answer that is not read ends",
        "router.http.watch:Watch._look",
        drop("hang_up"),
        _READERS + "an_answer_that_is_not_read_ends",
    ),
    Guard(
        "Callers that do not read leave their places to others",
        "router.http.watch:Watch._look",
        drop("hang_up"),
        "tests/security/test_slow_readers.py::"
        "test_callers_that_do_not_read_leave_their_places_to_others",
    ),
    Guard(
        "What the kernel holds is not read yet",
        "router.http.reading:unread",
        body("return transport.get_write_buffer_size()"),
        _READERS + "the_end_of_an_answer_has_to_be_read_as_well",
    ),
    Guard(
        "A few bytes now and then are no reading",
        "router.http.reading:Reading.has_stalled",
        swap("min(unread, self._least)", "min(unread, 1)"),
        _READERS + "progress_is_what_was_under_way_or_the_slowest_speed",
    ),
    Guard(
        "What does not arrive is dropped by the kernel as well",
        "router.http.reading:hang_up",
        drop("setsockopt"),
        _READERS + "the_end_of_an_answer_has_to_be_read_as_well",
    ),
)
