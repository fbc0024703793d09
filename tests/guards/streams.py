"""Guards: a caller's stream is complete, timely, and reveals nothing about this machine."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap, without

_EVENTS = "tests/requests/test_event_stream.py::test_"
_RESPONSE = "tests/requests/test_response.py::test_"
_WIRE = "tests/http/test_wire.py::test_"
_TOGETHER = "tests/http/test_writing_together.py::test_"

GUARDS = (
    Guard(
        "Only whole events are passed on",
        "router.requests.event_stream:EventStream.feed",
        body("return chunk"),
        _EVENTS + "half_an_event_is_dropped_by_a_failure",
    ),
    Guard(
        "An engine's error inside a stream loses its local paths",
        "router.requests.event_stream:EventStream.feed",
        never("_ERROR"),
        _EVENTS + "an_engines_error_inside_a_stream_loses_its_local_paths",
    ),
    Guard(
        "A stream is never silent for long, before the engine has answered",
        "router.requests.response:StreamedResponse.reached",
        body("await asyncio.wait({self._reaching})\nself._reaching.result()\nreturn True"),
        _RESPONSE + "a_loaded_engine_that_thinks_is_waited_for_in_comments",
    ),
    Guard(
        "Nor while the engine is silent in mid-stream",
        "router.requests.response:StreamedResponse._due",
        swap("min(_, self._end)", "self._end"),
        _RESPONSE + "an_engine_that_is_silent_in_mid_stream_is_waited_for_in_comments",
    ),
    Guard(
        "A stream that is passed on without a task waits for a caller that reads slowly",
        "router.requests.response:StreamedResponse._pass",
        body("self._write(self._events.feed(data))\nreturn True"),
        _RESPONSE + "a_sink_that_has_enough_is_waited_for",
    ),
    Guard(
        "A caller that leaves ends the search for an engine",
        "router.requests.response:StreamedResponse.close",
        drop("_reaching"),
        _RESPONSE + "a_caller_that_leaves_frees_everything_at_every_point[starting-0.0-True]",
    ),
    Guard(
        "An answer's lease ends with it",
        "router.requests.engine_call:EngineCall.close",
        drop("close").nth(2, of=2),
        "tests/requests/test_service.py::"
        "test_leaving_the_response_ends_the_exchange_and_the_lease",
    ),
    Guard(
        "A caller's salt divides its own part of the prefix cache, and no other",
        "router.requests.authorization:Authorizer._salt_of",
        body("return own"),
        "tests/requests/test_service.py::"
        "test_a_callers_own_salt_divides_its_part_of_the_prefix_cache",
    ),
    Guard(
        "Only a plausible request id is repeated",
        "router.http.incoming:request_id_of",
        body("return headers.get('x-request-id')"),
        _WIRE + "any_other_request_id_is_replaced",
    ),
    Guard(
        "A failed upload does not leave a connection that waits for the rest",
        "router.http.writing:_head",
        without("complete"),
        "tests/http/test_server.py::test_a_body_that_does_not_arrive_is_given_up",
    ),
    Guard(
        "A write waits for those of other requests for one turn of the loop at most",
        "router.outbox:Outbox.write",
        drop("call_soon"),
        "tests/test_outbox.py::test_a_write_waits_one_turn_of_the_loop_at_most",
    ),
    Guard(
        "A write waits for no other where its caller reads too slowly",
        "router.outbox:Outbox.write",
        never("_SHORT"),
        _TOGETHER + "an_answer_that_is_not_read_stays_in_progress",
    ),
    Guard(
        "It goes out before its connection is closed",
        "router.http.connection:Connection.close",
        drop("flush"),
        _TOGETHER + "a_connection_that_ends_sends_first_what_waits_for_others[last]",
    ),
    Guard(
        "It goes out before its connection is half closed",
        "router.http.connection:Connection._close_late",
        drop("flush"),
        _TOGETHER + "a_connection_that_ends_sends_first_what_waits_for_others[refused]",
    ),
    Guard(
        "No write waits for a request whose caller left before it began",
        "router.http.connection:Connection._cancel",
        drop("_count_off"),
        _TOGETHER + "a_caller_that_leaves_before_its_turn_is_not_waited_for",
    ),
    Guard(
        "No write waits for a request that was cancelled as its answer came",
        "router.requests.engine_connection:EngineConnection._wait",
        never("waiter"),
        "tests/requests/test_upstream.py::"
        "test_what_waits_for_an_answer_is_counted_once_it_goes_on[after it came]",
    ),
)
