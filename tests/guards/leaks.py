"""Guards: a token goes only to the Hub, and the worker keeps it only during its request."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, insert, never, set_to, swap

_TOKENS = "tests/test_secrets.py::test_"
_HUB = "tests/hub/test_client.py::test_"
_FAILURE = "tests/engines/test_failure.py::test_"
_LEAKS = "tests/security/test_leaks.py::test_"

GUARDS = (
    Guard(
        "A secret does not print",
        "router.secrets:Secret.__repr__",
        body("return f'{type(self).__name__}({self._secret})'"),
        _TOKENS + "a_token_is_shown_by_reveal_only",
    ),
    Guard(
        "A secret does not leave its process",
        "router.secrets:Secret.__reduce__",
        body("raise SystemExit"),
        _TOKENS + "a_token_is_neither_pickled_nor_copied",
    ),
    Guard(
        "A string without a token's shape is not taken as a token",
        "router.secrets:Token.__init__",
        swap("_1.fullmatch", "_1.match"),
        _TOKENS + "a_malformed_token_is_refused_without_its_value",
    ),
    Guard(
        "Every log record passes the redaction filter",
        "router.logs:configure",
        drop("addFilter"),
        "tests/test_logs.py::test_each_json_line_is_one_object",
    ),
    Guard(
        "Tracebacks are redacted too",
        "router.redaction:RedactionFilter._clean",
        swap("_(_1.exc_text)", "_1.exc_text"),
        "tests/test_redaction.py::test_a_hub_token_is_redacted_from_every_record",
    ),
    Guard(
        "The HTTP clients log nothing at DEBUG",
        "router.logs:configure",
        swap("logging.WARNING", "logging.DEBUG"),
        "tests/test_logs.py::"
        "test_the_http_clients_stay_quiet_even_at_debug_and_have_no_handler_of_their_own",
    ),
    Guard(
        "A malformed HTTP request is not repeated in the answer or the log",
        "router.http.own_answers:refuse",
        swap("error.code", "request.body._buffer.look()"),
        "tests/http/test_server.py::"
        "test_a_malformed_request_is_answered_and_logged_without_its_content",
    ),
    Guard(
        "No query string is logged",
        "router.http.server:HttpServer._open_record",
        swap("known_route(_1)", "request.head.target"),
        "tests/http/test_server.py::test_a_request_is_logged_in_one_line_without_its_query",
    ),
    Guard(
        "Malformed JSON is not repeated in the error",
        "router.requests.call:_read_object",
        swap("_1.msg", "_1.doc"),
        "tests/requests/test_call.py::test_a_message_about_bad_json_repeats_nothing_of_the_body",
    ),
    Guard(
        "The field hf_token is not forwarded",
        "router.requests.call:parse",
        swap("_1.pop('hf_token', None)", "_1.get('hf_token', None)"),
        "tests/requests/test_call.py::test_no_route_forwards_a_token",
    ),
    Guard(
        "A refusal holds nothing of the question to the Hub",
        "router.hub.client:_check",
        insert("raise hub_error(error, request) from None", before="hub_error"),
        _HUB + "no_error_holds_the_token",
    ),
    Guard(
        "No redirect takes a token to another origin",
        "router.hub.client:HuggingFaceHub._follow",
        never("owns"),
        _HUB + "no_redirect_takes_the_token_to_another_origin",
    ),
    Guard(
        "No cookie of one caller goes with another's request",
        "router.hub.client:HuggingFaceHub._connect",
        set_to("cookies", "CookieJar()"),
        _HUB + "no_cookie_of_one_caller_comes_with_anothers_request",
    ),
    Guard(
        "A download process sees none of the worker's secrets",
        "router.downloads.child_process:child_environment",
        swap("_PASSED_ON", "environment"),
        "tests/downloads/test_downloader.py::test_the_child_gets_an_environment_of_its_own",
    ),
    Guard(
        "RunPod's SDK keeps no job's input",
        "router.runpod.handler:Jobs._handle",
        swap("_1.pop('input', None)", "_1.get('input', None)"),
        "tests/security/test_memory_of_tokens.py::"
        "test_it_is_gone_when_its_request_was_served[queue]",
    ),
    Guard(
        "RunPod's SDK keeps nothing of a cancelled job",
        "router.runpod.handler:Jobs._close",
        drop("exception"),
        "tests/runpod/test_handler.py::"
        "test_who_holds_the_task_of_a_cancelled_job_holds_nothing_of_its_request",
    ),
    Guard(
        "A crash writes no memory to a file",
        "router.commands.run:run",
        drop("_leave_no_core"),
        _LEAKS + "no_process_would_leave_its_memory_in_a_file_when_it_crashes[http]",
    ),
    Guard(
        "A remembered refusal holds no frame of the refused request",
        "router.hub.singleflight:SingleFlightCache._run",
        swap("_1.with_traceback(None)", "_1"),
        "tests/security/test_memory_of_tokens.py::"
        "test_it_is_gone_when_its_request_was_refused[http]",
    ),
    Guard(
        "What a caller hears of a failed start names no path of this machine",
        "engines.failure:FailureReason.told",
        swap("hide_paths(_1)", "_1"),
        _FAILURE + "a_caller_hears_no_path_no_token_and_one_short_line",
    ),
    Guard(
        "What a caller hears of a failed start holds no token",
        "engines.failure:FailureReason.add",
        swap("redact(_1)", "_1"),
        _FAILURE + "a_caller_hears_no_path_no_token_and_one_short_line",
    ),
    Guard(
        "A caller hears of a failed start only what an exception said",
        "engines.failure:FailureReason.told",
        never("_EXCEPTION"),
        _FAILURE + "a_caller_hears_nothing_that_is_no_exception",
    ),
)
