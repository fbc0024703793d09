"""A token goes to the Hub, and stays in the worker for as long as its request."""

from __future__ import annotations

from tests.guards.guard import Guard

_TOKENS = "tests/test_secrets.py::test_"
_HUB = "tests/hub/test_client.py::test_"
_LEAKS = "tests/security/test_leaks.py::test_"

GUARDS = (
    Guard(
        "a secret does not print",
        "router/secrets.py",
        'return f"{type(self).__name__}(***)"',
        'return f"{type(self).__name__}({self._secret})"',
        _TOKENS + "a_token_is_revealed_on_demand_only",
    ),
    Guard(
        "nor does it leave its process",
        "router/secrets.py",
        'raise TypeError(f"a {type(self).__name__} does not leave its process by pickling")',
        "raise SystemExit",
        _TOKENS + "a_token_is_neither_pickled_nor_multiplied",
    ),
    Guard(
        "what is not shaped like a token is none",
        "router/secrets.py",
        "if not _SHAPE.fullmatch(secret):",
        "if not _SHAPE.match(secret):",
        _TOKENS + "a_malformed_token_is_refused_without_being_repeated",
    ),
    Guard(
        "no record gets past the filter",
        "router/logs.py",
        "    handler.addFilter(RedactionFilter(Redactor(secrets)))\n",
        "",
        "tests/test_logs.py::test_json_lines_hold_one_object_each",
    ),
    Guard(
        "a traceback is cleaned as well",
        "router/logs.py",
        "            clean = self._redact(record.exc_text)\n",
        "            clean = record.exc_text\n",
        "tests/test_logs.py::test_a_hub_token_survives_in_no_record",
    ),
    Guard(
        "the HTTP clients are quiet at DEBUG",
        "router/logs.py",
        "        logger.setLevel(logging.WARNING)\n",
        "        logger.setLevel(logging.DEBUG)\n",
        "tests/test_logs.py::"
        "test_the_http_clients_stay_quiet_even_at_debug_and_have_no_handler_of_their_own",
    ),
    Guard(
        "what is not HTTP is repeated to nobody",
        "router/http/connection.py",
        "    def handle_error(\n",
        "    def handle_error_of_others(\n",
        "tests/http/test_server.py::"
        "test_a_malformed_request_is_answered_and_logged_without_its_content",
    ),
    Guard(
        "no query is logged",
        "router/http/connection.py",
        "            access_log=None,  # aiohttp's prints query strings\n",
        "            access_log=logger,\n",
        "tests/http/test_server.py::test_a_request_is_logged_in_one_line_without_its_query",
    ),
    Guard(
        "bad JSON is not repeated",
        "router/requests/routes.py",
        "{error.msg} (byte {error.pos})",
        "{error.doc} (byte {error.pos})",
        "tests/requests/test_routes.py::test_a_message_about_bad_json_repeats_nothing_of_the_body",
    ),
    Guard(
        "a token's field goes no further",
        "router/requests/routes.py",
        'token = content.pop("hf_token", None)',
        'token = content.get("hf_token", None)',
        "tests/requests/test_routes.py::test_no_route_forwards_a_token",
    ),
    Guard(
        "a refusal holds nothing of the question",
        "router/hub/client.py",
        "        refusal = explain(error, question)\n",
        "        raise explain(error, question) from None\n",
        _HUB + "no_error_holds_the_token",
    ),
    Guard(
        "no redirect takes a token elsewhere",
        "router/hub/client.py",
        "            if _origin(url) != home:\n",
        "            if False:\n",
        _HUB + "no_redirect_takes_the_token_to_another_origin",
    ),
    Guard(
        "no cookie of one caller comes with another's request",
        "router/hub/client.py",
        "cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[]))",
        "cookies=CookieJar()",
        _HUB + "no_cookie_of_one_caller_comes_with_anothers_request",
    ),
    Guard(
        "a download sees none of the worker's secrets",
        "router/downloads/fetch_process.py",
        "**{name: environment[name] for name in _PASSED_ON if environment.get(name)},",
        "**environment,",
        "tests/downloads/test_downloader.py::test_the_child_gets_an_environment_of_its_own",
    ),
    Guard(
        "the SDK keeps no job's input",
        "router/runpod/handler.py",
        'job.pop("input", None)',
        'job.get("input", None)',
        "tests/security/test_memory_of_tokens.py::"
        "test_it_is_gone_when_its_request_was_served[queue]",
    ),
    Guard(
        "nor what cancelled it",
        "router/runpod/handler.py",
        "            ended.exception()\n",
        "            pass\n",
        "tests/runpod/test_handler.py::"
        "test_who_holds_the_task_of_a_cancelled_job_holds_nothing_of_its_request",
    ),
    Guard(
        "no crash leaves memory in a file",
        "router/cli.py",
        "    _leave_no_core()\n",
        "",
        _LEAKS + "no_process_would_leave_its_memory_in_a_file_when_it_crashes[http]",
    ),
    Guard(
        "a refusal that is remembered holds no frame of who was refused",
        "router/hub/singleflight.py",
        "value = error.with_traceback(None)",
        "value = error",
        "tests/security/test_memory_of_tokens.py::"
        "test_it_is_gone_when_its_request_was_refused[http]",
    ),
)
