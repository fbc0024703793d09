"""What callers and repositories may send is bounded: in size, in time, in number."""

from __future__ import annotations

from tests.guards.guard import Guard

_BODIES, _TEST = "router/http/body.py", "tests/http/test_body.py::test_"
_HTTP = "tests/http/test_server.py::test_"
_ABUSE = "tests/security/test_abuse.py::test_an_odd_body_is_answered_or_refused"
_REPOS = "tests/security/test_abuse_by_repositories.py::test_"
_CONFIG = _REPOS + "an_absurd_configuration_is_the_engines_matter_or_refused"

GUARDS = (
    Guard(
        "a body that is announced as too large is not read",
        _BODIES,
        "if (request.content_length or 0) > self._limit:",
        "if False:",
        _HTTP + "a_body_announced_as_too_large_is_refused_before_it_is_sent",
    ),
    Guard(
        "nor is one to its end that turns out to be",
        _BODIES,
        "if size > self._limit:",
        "if False:",
        _HTTP + "a_body_over_the_limit_is_refused[True]",
    ),
    Guard(
        "nothing is unpacked",
        _BODIES,
        'if request.headers.get("Content-Encoding", "identity").lower() != "identity":',
        "if False:",
        _HTTP + "a_compressed_body_is_refused",
    ),
    Guard(
        "an upload has its time",
        _BODIES,
        "asyncio.timeout(self._patience)",
        "asyncio.timeout(None)",
        "tests/security/test_abuse_over_http.py::"
        "test_slow_uploads_end_in_time_and_hold_up_nobody",
    ),
    Guard(
        "which is no longer than its request's",
        "router/http/server.py",
        "min(upload_timeout, request_timeout)",
        "upload_timeout",
        _TEST + "a_body_has_no_longer_than_its_request",
    ),
    Guard(
        "large bodies together have a bound",
        _BODIES,
        "if size - held > self._left:",
        "if False:",
        _TEST + "so_many_large_bodies_are_taken_in_at_once_and_small_ones_always",
    ),
    Guard(
        "which small ones do not meet",
        _BODIES,
        "if size > _SMALL:",
        "if True:",
        _TEST + "so_many_large_bodies_are_taken_in_at_once_and_small_ones_always",
    ),
    Guard(
        "and that each gives back",
        _BODIES,
        "            self._left += held\n",
        "            pass\n",
        _TEST + "a_body_gives_its_place_back_however_it_ends[131072-200]",
    ),
    Guard(
        "connections have a bound",
        "router/http/connection.py",
        "if len(self._connections) > self._most:",
        "if False:",
        "tests/security/test_abuse_over_http.py::"
        "test_idle_connections_are_bounded_and_leave_room",
    ),
    Guard(
        "for which nobody's request ends",
        "router/http/connection.py",
        "return not (self._current_request or self._messages or self._force_close)",
        "return not self._force_close",
        _TEST + "a_connection_with_a_request_is_not_closed_for_another",
    ),
    Guard(
        "very many values are not read",
        "router/requests/routes.py",
        'if opened + body.count(b",") > _MOST_VALUES:',
        "if False:",
        "tests/requests/test_routes.py::test_a_body_of_very_many_values_is_not_read",
    ),
    Guard(
        "nor is what is too deep to be written again",
        "router/requests/routes.py",
        "if opened > _MOST_LEVELS:",
        "if False:",
        _ABUSE + "[http-deep]",
    ),
    Guard(
        "a job is refused for what it holds, not for what that breaks",
        "router/runpod/inputs.py",
        "except TypeError:",
        "except ZeroDivisionError:",
        _ABUSE + "[queue-deep]",
    ),
    Guard(
        "a listing is read as far as it may go",
        "router/downloads/select_files.py",
        "itertools.islice(files, MOST_FILES + 1)",
        "files",
        _REPOS + "a_repository_of_very_many_files_is_refused_after_some_pages",
    ),
    Guard(
        "what a configuration names is no sign of the Hub's health",
        "router/hub/client.py",
        "if isinstance(named, list) else []",
        "if named else []",
        _CONFIG + "[number]",
    ),
    Guard(
        "a configuration that is no object starts no engine",
        "router/downloads/check_config.py",
        "    if not isinstance(content, dict):\n",
        "    if False:\n",
        _CONFIG + "[list]",
    ),
    Guard(
        "a model has a size that fits",
        "router/downloads/child.py",
        "if order.max_bytes is not None and total > order.max_bytes:",
        "if False:",
        _REPOS + "weights_that_lie_are_the_engines_matter_or_refused[size]",
    ),
    Guard(
        "what an engine unpacks is bounded, too",
        "router/requests/routes.py",
        "    check_reasoning(fields)\n",
        "",
        "tests/requests/test_reasoning.py::test_much_is_refused_in_one_piece_and_in_many",
    ),
)
