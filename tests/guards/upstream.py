"""Guards: which parts of a request go upstream, and which parts of the answer come back."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never, swap, text, without

_FIELDS = "router/requests/fields.py"
_UNIT = "tests/requests/test_call.py::test_"
_UPSTREAM = "tests/requests/test_upstream.py::test_"
_ENGINE = "tests/e2e_sglang/test_attack_by_"
_TWO_WAYS = _UPSTREAM + "only_listed_headers_travel_either_way"

GUARDS = (
    # fields
    Guard(
        "No caller names another caller's request",
        "router.requests.fields:DROPPED",
        without("rid"),
        _ENGINE + "routes.py::test_a_request_that_runs_is_neither_impersonated_nor_aborted",
    ),
    Guard(
        "Ids, hosts and labels are dropped",
        "router.requests.fields:admit_fields",
        without("DROPPED"),
        _UNIT + "ids_and_hints_are_dropped[session_id]",
    ),
    Guard(
        "Code, paths, hosts and other callers' answers are refused",
        "router.requests.fields:_drop_refused",
        never("pop"),
        _UNIT + "a_field_that_would_change_the_answer_is_refused_by_name"
        "[/v1/chat/completions-custom_logit_processor]",
    ),
    Guard(
        "On /generate, only listed fields go upstream",
        "router.requests.fields:admit_fields",
        swap("_ - GENERATE", "()"),
        _UNIT + "the_native_route_takes_listed_fields_only",
    ),
    Guard(
        "A custom logit processor gets no parameters",
        "router.requests.fields:admit_fields",
        drop("_drop_custom_params"),
        _UNIT + "custom_params_are_dropped_wherever_they_stand[sampling1]",
    ),
    Guard(
        "A caller's chat template does not run",
        "router.requests.fields:admit_fields",
        never("chat_template"),
        _UNIT + "a_callers_chat_template_is_refused",
    ),
    Guard(
        "An engine stores no answer",
        "router.requests.fields:admit_fields",
        drop("store"),
        _ENGINE + "routes.py::test_an_answer_is_not_there_by_its_id",
    ),
    Guard(
        "Each caller has a prefix cache of its own",
        "router.requests.call:Call.upstream_body",
        drop("cache_salt"),
        _ENGINE + "fields.py::"
        "test_a_caller_who_knows_anothers_salt_does_not_get_at_what_it_keeps_apart",
    ),
    Guard(
        "An engine gets no token",
        "router.requests.call:parse",
        swap("_1.pop('hf_token', None)", "_1.get('hf_token')"),
        _UNIT + "no_route_forwards_a_token[/v1/messages]",
    ),
    Guard(
        "An engine is sent its own model name",
        "router.requests.call:Call.upstream_body",
        drop("model"),
        _UNIT + "the_model_is_rewritten_where_the_route_has_one[/v1/completions]",
    ),
    Guard(
        "Of a repeated key, the router forwards the value that it read",
        "router.requests.call:Call._with",
        swap(
            "orjson.dumps(_1)",
            "orjson.dumps(_1)[:-1] + b',' + orjson.dumps({'model': self.model})[1:]",
        ),
        _UNIT + "of_duplicate_keys_the_last_is_read_and_the_only_one_sent",
    ),
    # headers
    Guard(
        "Only listed request headers go upstream",
        "router.requests.upstream:_head",
        text("Accept: */*", "X-Further: 1"),
        _TWO_WAYS,
    ),
    Guard(
        "Only listed response headers come back",
        "router.requests.engine_connection:EngineConnection.on_header",
        swap("_SHOWN.get(name)", "name.decode()"),
        _TWO_WAYS,
    ),
    Guard(
        "An engine is held back where a caller reads slowly",
        "router.requests.engine_connection:EngineConnection._keep",
        never("_MOST_KEPT"),
        _UPSTREAM + "an_engine_is_held_back_while_its_answer_is_not_read",
    ),
    # routes
    Guard(
        "An engine's own routes do not exist over HTTP",
        "router.http.routes:Routes.serve",
        never("ROUTES"),
        "tests/http/test_server.py::test_an_unknown_route_is_refused[/server_info]",
    ),
    Guard(
        "An engine's own routes do not exist for jobs",
        "router.requests.parsing:Parser.read",
        swap("ROUTES.get(_1)", "ROUTES.get(_1, ROUTES['/generate'])"),
        "tests/security/test_names.py::test_an_engines_own_routes_are_not_there[queue]",
    ),
    Guard(
        "A route takes only its own method",
        "router.http.routes:Routes.serve",
        never("method"),
        "tests/http/test_server.py::"
        "test_a_wrong_method_is_told_the_right_one[PUT-/generate-POST]",
    ),
    Guard(
        "An engine that embeds gets no generation request",
        "router.requests.fitting:check_fits",
        never("tasks"),
        "tests/requests/test_service.py::"
        "test_a_model_that_does_not_fit_the_route_is_refused_before_anything_starts",
    ),
)
