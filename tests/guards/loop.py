"""Guards: no single caller can block the event loop."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, set_to, swap, text

_PARSING = "tests/requests/test_parsing.py::test_"
_SIDE = "tests/test_side_process.py::test_"
_MEDIA = "tests/requests/test_media.py::test_"
_EVENTS = "tests/requests/test_event_stream.py::test_"
_LOOP = "tests/security/test_free_loop.py::test_"

GUARDS = (
    Guard(
        "A body that takes long is parsed in a side process",
        "router.requests.parsing:Parser.parse",
        always("parse_time"),
        _PARSING + "what_takes_long_is_parsed_aside[lists]",
    ),
    Guard(
        "A long body is not even looked at on the loop",
        "router.requests.parse_time:parse_time",
        never("_COUNTED"),
        _PARSING + "what_takes_long_is_parsed_aside[long]",
    ),
    Guard(
        "A caller has one body at a time parsed",
        "router.requests.parsing:Turns.take",
        swap("line.lock", "asyncio.Lock()"),
        _PARSING + "a_caller_has_one_turn_at_a_time_and_others_have_theirs",
    ),
    Guard(
        "Between two bodies that take a moment, others are served",
        "router.requests.parsing:Parser.parse",
        drop("sleep"),
        _PARSING + "between_two_medium_bodies_others_are_served",
    ),
    Guard(
        "Bodies that wait to be parsed are bounded",
        "router.requests.parsing:Turns.take",
        never("_most_each"),
        _PARSING + "bodies_that_wait_are_bounded_for_each_caller_and_for_all",
    ),
    Guard(
        "A body that waits gives its place back",
        "router.requests.parsing:Turns.take",
        drop("_left").nth(2, of=2),
        _PARSING + "bodies_that_wait_are_bounded_for_each_caller_and_for_all",
    ),
    Guard(
        "Work in a side process is bounded in time",
        "router.side_process:SideProcesses.run",
        swap("asyncio.timeout(_)", "asyncio.timeout(None)"),
        _SIDE + "work_that_takes_too_long_ends_with_its_process",
    ),
    Guard(
        "What a caller left behind ends with its process",
        "router.side_process:SideProcesses.run",
        swap("process.end()", "asyncio.sleep(0)"),
        _SIDE + "canceled_work_ends_with_its_process",
    ),
    Guard(
        "A side process inherits no secret",
        "router.side_process:_SideProcess.start",
        set_to("env", "dict(os.environ)"),
        _SIDE + "no_secret_of_the_environment_goes_along",
    ),
    Guard(
        "A side process tells nothing of what broke it down",
        "router.side_process_child:_carry_out",
        swap("type(defect).__name__", "str(defect)"),
        _SIDE + "a_defect_is_told_without_its_text",
    ),
    Guard(
        "A request has few media",
        "router.requests.fields:_Allowed.take",
        never("media", "videos"),
        _MEDIA + "a_request_has_few_media_wherever_they_stand[/generate]",
    ),
    Guard(
        "A request has very few videos",
        "router.requests.fields:_Allowed.take",
        drop("videos"),
        _MEDIA + "a_request_has_very_few_videos[/generate]",
    ),
    Guard(
        "An event without an end ends the stream",
        "router.requests.event_stream:EventStream._cut",
        never("_LONGEST_EVENT"),
        _EVENTS + "an_event_without_an_end_ends_the_stream[one line]",
    ),
    Guard(
        "A long error of an engine is not read",
        "router.requests.event_stream:EventStream._clean",
        never("_LONGEST_ERROR"),
        _EVENTS + "a_long_event_that_tells_an_error_is_not_passed_on",
    ),
    Guard(
        "A long body is never copied as a whole",
        "router.http.incoming:BodyReader._read",
        never("_WHOLE").nth(2, of=2),
        "tests/http/test_body.py::test_a_long_body_stays_in_pieces[3000000]",
    ),
    Guard(
        "A caller's large uploads take one step in a turn of the loop",
        "router.http.incoming:BodyReader._read",
        swap("step", "asyncio.Lock()"),
        "tests/http/test_body.py::"
        "test_a_callers_large_bodies_are_read_a_chunk_in_each_turn_of_the_loop",
    ),
    Guard(
        "A repository's configuration is checked in a side process",
        "router.downloads.fitness:SnapshotFitness.plan",
        body('return (await asyncio.to_thread(judge, b"", snapshot, conditions))[0]'),
        "tests/downloads/test_downloader.py::test_a_configuration_is_checked_aside"
        "[failure0-UnsupportedModel]",
    ),
    Guard(
        "A long name is no route of a job",
        "router.runpod.inputs:_path",
        never("_LONGEST_ROUTE"),
        "tests/runpod/test_inputs.py::test_a_long_route_is_none[escapes]",
    ),
    Guard(
        "A pattern of many stars reads a name in linear time",
        "router.config.patterns:_regex",
        text("(?>", "(?:"),
        "tests/security/test_time_per_byte.py::"
        "test_a_pattern_of_many_stars_reads_a_name_in_time",
    ),
    Guard(
        "The loop is free while a body is parsed",
        "router.requests.parsing:Parser.parse",
        body("return parse(b''.join(request.body), route, self._domains)"),
        _LOOP + "pings_that_come_later_are_answered_before_a_large_body",
    ),
)
