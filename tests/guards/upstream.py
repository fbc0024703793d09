"""What of a request goes upstream, and what comes back."""

from __future__ import annotations

from tests.guards.guard import Guard

_FIELDS = "router/requests/fields.py"
_UNIT = "tests/requests/test_routes.py::test_"
_RELAY = "tests/requests/test_upstream.py::test_"
_ENGINE = "tests/e2e_sglang/test_attack_by_"
_TWO_WAYS = _RELAY + "only_listed_headers_travel_either_way"

GUARDS = (
    # fields
    Guard(
        "nobody names a request of another's",
        _FIELDS,
        '        "rid",\n',
        "",
        _ENGINE + "routes.py::test_a_request_that_runs_is_neither_impersonated_nor_aborted",
    ),
    Guard(
        "ids, places and labels are dropped",
        _FIELDS,
        "{name: value for name, value in content.items() if name not in DROPPED}",
        "dict(content)",
        _UNIT + "ids_and_hints_are_dropped[session_id]",
    ),
    Guard(
        "code, paths, hosts and others' answers are refused",
        _FIELDS,
        "        if fields.pop(name, None):\n",
        "        if False:\n",
        _UNIT + "a_field_that_would_change_the_answer_is_refused_by_name"
        "[/v1/chat/completions-custom_logit_processor]",
    ),
    Guard(
        "of SGLang's own structure callers fill in what is listed",
        _FIELDS,
        "for name in fields.keys() - GENERATE:",
        "for name in ():",
        _UNIT + "the_native_route_takes_listed_fields_only",
    ),
    Guard(
        "a logit processor gets nothing to work with",
        _FIELDS,
        '_drop_custom_params(fields.get("sampling_params"))',
        "pass",
        _UNIT + "custom_params_are_dropped_wherever_they_stand[sampling1]",
    ),
    Guard(
        "a caller's template does not run",
        _FIELDS,
        'if isinstance(kwargs, dict) and kwargs.pop("chat_template", None):',
        "if False:",
        _UNIT + "a_callers_chat_template_is_refused",
    ),
    Guard(
        "an engine keeps no answer",
        _FIELDS,
        'fields["store"] = False',
        "pass",
        _ENGINE + "routes.py::test_an_answer_is_not_there_by_its_id",
    ),
    Guard(
        "callers' prefix caches are kept apart",
        "router/requests/routes.py",
        'body["cache_salt"] = salt',
        "pass",
        _ENGINE + "fields.py::"
        "test_a_caller_who_knows_anothers_salt_does_not_get_at_what_it_keeps_apart",
    ),
    Guard(
        "an engine gets no token",
        "router/requests/routes.py",
        'content.pop("hf_token", None)',
        'content.get("hf_token")',
        _UNIT + "no_route_forwards_a_token[/v1/messages]",
    ),
    Guard(
        "an engine is called by its own name",
        "router/requests/routes.py",
        'body["model"] = served_name',
        "pass",
        _UNIT + "the_model_is_rewritten_where_the_route_has_one[/v1/completions]",
    ),
    Guard(
        "of a key that is there twice the router reads what it sends",
        "router/requests/routes.py",
        "return orjson.dumps(body)",
        'return orjson.dumps(body)[:-1] + b"," + orjson.dumps({"model": self.model})[1:]',
        _UNIT + "of_duplicate_keys_the_last_is_read_and_the_only_one_sent",
    ),
    # headers
    Guard(
        "headers travel by allow-list",
        "router/requests/upstream.py",
        "for k, v in request.headers.items() if k.lower() in _SENT}",
        "for k, v in request.headers.items()}",
        _TWO_WAYS,
    ),
    Guard(
        "and so they do on the way back",
        "router/requests/upstream.py",
        "for k, v in found if k in _SHOWN}",
        "for k, v in found}",
        _TWO_WAYS,
    ),
    Guard(
        "no cookie makes two callers one",
        "router/requests/upstream.py",
        "            cookie_jar=aiohttp.DummyCookieJar(),\n",
        "            cookie_jar=aiohttp.CookieJar(unsafe=True),\n",
        _TWO_WAYS,
    ),
    Guard(
        "an engine sends the router nowhere",
        "router/requests/upstream.py",
        "allow_redirects=False",
        "allow_redirects=True",
        _RELAY + "a_redirect_is_an_answer_and_not_an_order",
    ),
    Guard(
        "no proxy stands before an engine",
        "router/requests/upstream.py",
        "trust_env=False",
        "trust_env=True",
        _RELAY + "proxies_of_the_environment_are_ignored",
    ),
    # routes
    Guard(
        "an engine's own routes are not there over HTTP",
        "router/http/server.py",
        "if path not in ROUTES:",
        "if False:",
        "tests/http/test_server.py::test_an_unknown_route_is_refused[/server_info]",
    ),
    Guard(
        "nor in a job",
        "router/requests/service.py",
        "ROUTES.get(request.route)\n",
        'ROUTES.get(request.route, ROUTES["/generate"])\n',
        "tests/security/test_names.py::test_an_engines_own_routes_are_not_there[queue]",
    ),
    Guard(
        "a route that is there takes no other method",
        "router/http/server.py",
        'if request.method != "POST":',
        "if False:",
        "tests/http/test_server.py::"
        "test_a_wrong_method_is_told_the_right_one[PUT-/generate-POST]",
    ),
    Guard(
        "a generation request does not kill an engine that embeds",
        "router/requests/service.py",
        "if spec.model.task not in route.tasks:",
        "if False:",
        "tests/requests/test_service.py::"
        "test_a_model_that_does_not_fit_the_route_is_refused_before_anything_starts",
    ),
)
