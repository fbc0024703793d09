"""Who is served without a token, and with whose."""

from __future__ import annotations

from tests.guards.guard import Guard

_PLACES = "tests/security/test_grants.py::test_"
_NAMES = "tests/security/test_grants_by_name.py::test_"
_OPERATORS = _PLACES + "an_operators_model_is_for_who_brings_no_token_or_a_right_one"
_WORKERS = _PLACES + "the_workers_token_serves_further_models_where_callers_are_known"
_MEANS = _NAMES + "the_workers_token_is_for_what_a_name_means_now"

GUARDS = (
    Guard(
        "where anybody can call, HF_TOKEN is for the operator's models alone",
        "router/access/credentials.py",
        'return _NONE, f"anyone',
        'return _ALL, f"anyone',
        _WORKERS + "[open port]",
    ),
    Guard(
        "a Pod is a place where anybody can call",
        "router/config/settings.py",
        'runpod.text("RUNPOD_ENDPOINT_ID") and runpod.text("RUNPOD_POD_ID")',
        'runpod.text("RUNPOD_ENDPOINT_ID") or runpod.text("RUNPOD_POD_ID")',
        _WORKERS + "[Pod]",
    ),
    Guard(
        "a model's own token comes before the worker's",
        "router/access/credentials.py",
        "if operator is not None and operator.token_env is not None:",
        "if False:",
        _OPERATORS + "[loopback-with a token of its own]",
    ),
    Guard(
        "the operator's grant needs no token",
        "router/access/credentials.py",
        "(granted or self.worker_models.cover(ref.repo_id))",
        "self.worker_models.cover(ref.repo_id)",
        _OPERATORS + "[open port-by alias]",
    ),
    Guard(
        "a grant is for the revision that the operator named",
        "router/config/catalog.py",
        "            return revisions.get(revision)\n",
        "            pass\n",
        _PLACES + "a_commit_of_an_operators_model_is_not_what_the_operator_granted[open port]",
    ),
    Guard(
        "and so is the trust in its code",
        "router/config/catalog.py",
        "            return revisions.get(revision)\n",
        "            pass\n",
        _NAMES + "a_pull_request_is_not_trusted_as_the_model_is[http]",
    ),
    Guard(
        "HF_TOKEN is for what a name means now",
        "router/access/authorize.py",
        "if self._credentials.choose(caller, None, canonical) != choice:",
        "if False:",
        _MEANS + "[http-acme/Before-model_gated]",
    ),
    Guard(
        "a name as written must be allowed",
        "router/access/authorize.py",
        "if operator is None and not self._allowed.allow(ref):",
        "if False:",
        _NAMES + "what_a_former_name_led_to_must_be_allowed_by_that_name_too[queue]",
    ),
    Guard(
        "what it leads to must be, too",
        "router/access/authorize.py",
        "if not self._allowed.allow(canonical):",
        "if False:",
        _NAMES + "an_allowed_name_must_lead_to_an_allowed_model[http]",
    ),
    Guard(
        "a pull request is not allowed with its model",
        "router/config/patterns.py",
        'revision or ("*" if text == "*" else DEFAULT_REVISION)',
        'revision or "*"',
        _NAMES + "a_name_that_is_not_allowed_is_refused_before_the_hub_is_asked[http]",
    ),
    Guard(
        "an old commit is not served under a name that was registered anew",
        "router/hub/client.py",
        "        _check(response, question, elsewhere=True)\n",
        "        if response.status_code == 404:\n            return\n"
        "        _check(response, question, elsewhere=True)\n",
        _NAMES + "a_name_that_was_registered_anew_is_another_model[http]",
    ),
)
