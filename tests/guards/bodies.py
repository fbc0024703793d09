"""Guards: input from callers and repositories is bounded in size, time and number."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, swap, text, without

_BODIES, _TEST = "router/http/incoming.py", "tests/http/test_body.py::test_"
_HTTP = "tests/http/test_server.py::test_"
_ABUSE = "tests/security/test_abuse.py::test_an_odd_body_is_answered_or_refused"
_REPOS = "tests/security/test_abuse_by_repositories.py::test_"
_CONFIG = _REPOS + "an_absurd_configuration_is_the_engines_matter_or_refused"

GUARDS = (
    Guard(
        "A body announced as too large is not read",
        "router.http.incoming:BodyReader.read_json",
        never("length"),
        _HTTP + "a_body_announced_as_too_large_is_refused_before_it_is_sent",
    ),
    Guard(
        "A body that turns out too large is not read to its end",
        "router.http.incoming:BodyReader._read",
        never("_limit"),
        _HTTP + "a_body_over_the_limit_is_refused[True]",
    ),
    Guard(
        "No body is decompressed",
        "router.http.incoming:BodyReader.read_json",
        never("content-encoding"),
        _HTTP + "a_compressed_body_is_refused",
    ),
    Guard(
        "An upload has a time limit",
        "router.http.incoming:BodyReader.read_json",
        swap("asyncio.timeout(_)", "asyncio.timeout(None)"),
        "tests/security/test_abuse_over_http.py::"
        "test_slow_uploads_end_in_time_and_hold_up_nobody",
    ),
    Guard(
        "An upload has no more time than its request",
        "router.http.server:HttpServer.__init__",
        swap("min(_1, _)", "_1"),
        _TEST + "a_body_has_no_longer_than_its_request",
    ),
    Guard(
        "Large bodies have a limit together",
        "router.http.incoming:BodyReader._read",
        never("_left"),
        _TEST + "so_many_large_bodies_are_taken_in_at_once_and_small_ones_always",
    ),
    Guard(
        "Small bodies do not count toward that limit",
        "router.http.incoming:BodyReader._read",
        always("_SMALL"),
        _TEST + "so_many_large_bodies_are_taken_in_at_once_and_small_ones_always",
    ),
    Guard(
        "Each body gives its share of that limit back",
        "router.http.incoming:BodyReader._read",
        drop("_left").nth(2, of=2),
        _TEST + "a_body_gives_its_place_back_however_it_ends[131072-200]",
    ),
    Guard(
        "Connections are limited in number",
        "router.http.connections:Connections.add",
        never("_most"),
        "tests/security/test_abuse_over_http.py::"
        "test_idle_connections_are_bounded_and_leave_room",
    ),
    Guard(
        "No connection with a request is closed for another",
        "router.http.connection:Connection.is_spare",
        body("return not self._transport.is_closing()"),
        _TEST + "a_connection_with_a_request_is_not_closed_for_another",
    ),
    Guard(
        "After a body that was not read, the connection is closed",
        "router.http.writing:_head",
        without("complete"),
        "tests/http/test_wire.py::test_a_refusal_before_the_body_ends_the_connection"
        "[/nowhere-Expect: 100-continue-404]",
    ),
    Guard(
        "A body of very many values is not parsed",
        "router.requests.call:_read_object",
        never("_MOST_VALUES"),
        "tests/requests/test_call.py::test_a_body_of_very_many_values_is_not_read",
    ),
    Guard(
        "A body too deep to write again is refused",
        "router.requests.call:_read_object",
        never("_MOST_LEVELS"),
        _ABUSE + "[http-deep]",
    ),
    Guard(
        "A job with values that JSON can't carry is refused as invalid",
        "router.runpod.inputs:_request",
        swap("TypeError", "ZeroDivisionError"),
        _ABUSE + "[queue-deep]",
    ),
    Guard(
        "A repository's listing is read up to a limit",
        "router.repository.listing:Listing.of",
        swap("itertools.islice(_1, _)", "_1"),
        _REPOS + "a_repository_of_very_many_files_is_refused_after_some_pages",
    ),
    Guard(
        "An odd config.json does not count as a failure of the Hub",
        "router.hub.metadata:_architectures",
        swap("isinstance(_1, list)", "_1"),
        _CONFIG + "[number]",
    ),
    Guard(
        "A configuration that is no object starts no engine",
        "router.repository.check_config:_read",
        never("dict"),
        "tests/repository/test_check_config.py::test_an_absurd_configuration_is_refused[[]]",
    ),
    Guard(
        "A model above the size limit is not downloaded",
        "router.downloads.child:SnapshotDownload._check_size",
        never("most"),
        _REPOS + "weights_that_lie_are_the_engines_matter_or_refused[size]",
    ),
    Guard(
        "Packed reasoning that an engine would unpack is limited",
        "router.requests.call:parse",
        drop("check_reasoning"),
        "tests/requests/test_reasoning.py::test_much_is_refused_in_one_piece_and_in_many",
    ),
    Guard(
        "Packed reasoning that is damaged counts toward that limit",
        "router.requests.reasoning:_unpacked",
        swap("min(_1, _)", "0"),
        "tests/requests/test_reasoning.py::"
        "test_what_is_damaged_counts_as_the_most_that_it_could_have_been",
    ),
    Guard(
        "A body is parsed in a side process if its packed reasoning may take long to unpack",
        "router.requests.parse_time:_most_unpacked",
        swap("min(_, _1)", "0"),
        "tests/requests/test_parsing.py::test_what_holds_packed_reasoning_is_parsed_aside",
    ),
    Guard(
        "Bare base64 is told from other text in linear time",
        "router.requests.fields:_BASE64",
        text("]++", "]+"),
        "tests/requests/test_media.py::test_base64_of_line_breaks_alone_takes_no_long_time",
    ),
    Guard(
        "An engine's message is freed of paths in linear time",
        "router.local_paths:_FRAME",
        text(r"(?<!\s)\s*+", r"\s*"),
        "tests/requests/test_engine_errors.py::"
        "test_a_long_run_of_white_space_takes_no_long_time",
    ),
    Guard(
        "A request divides the prefix cache a limited number of times",
        "router.requests.call:_read_salt",
        never("MOST_SALTS"),
        "tests/requests/test_call.py::test_very_many_salts_are_refused",
    ),
)
