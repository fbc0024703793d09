"""What a caller without rights can get out of a model that is there for others."""

from __future__ import annotations

from tests.guards.guard import Guard

_WARM = "tests/security/test_warm_models.py::test_"
_NAMES = "tests/security/test_names.py::"
_LOADING = "tests/security/test_while_loading.py::test_"
_HAND_OVER = "tests/security/test_hand_over.py::test_"
_ALIKE = _WARM + "a_private_model_is_to_others_as_one_that_is_not_there"

GUARDS = (
    Guard(
        "a loaded model is no right to use it",
        "router/access/authorize.py",
        "        await self._hub.entitle(model, credential)\n        self._chosen",
        "        self._chosen",
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[http-stranger]",
    ),
    Guard(
        "nor is one's commit",
        "router/access/authorize.py",
        "            await self._hub.entitle(model, credential)\n            return model",
        "            return model",
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[queue-none]",
    ),
    Guard(
        "nor is one that was chosen before",
        "router/access/authorize.py",
        "            with suppress(AccessError):\n"
        "                await self._hub.entitle(kept, credential)\n"
        "                return kept\n",
        "            return kept\n",
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[http-unscoped]",
    ),
    Guard(
        "what is loaded makes no difference to what the Hub is asked",
        "router/access/authorize.py",
        "        model = await self._hub.resolve(ref, choice.token)\n        canonical",
        "        for commit in self._running(ref.repo_id):\n"
        "            loaded = ResolvedModel(ref.repo_id, commit)\n"
        "            await self._hub.entitle(loaded, choice.token)\n"
        "        model = await self._hub.resolve(ref, choice.token)\n        canonical",
        _ALIKE + "[http-name-stranger]",
    ),
    Guard(
        "what one token was told is not told to another",
        "router/hub/cache.py",
        "self._resolutions.get((digest, ref), ask,",
        "self._resolutions.get((None, ref), ask,",
        _LOADING + "while_it_downloads[http]",
    ),
    Guard(
        "what one token may, another need not",
        "router/hub/cache.py",
        "(digest, model.repo_id, model.commit), ask,",
        "(None, model.repo_id, model.commit), ask,",
        _WARM + "a_gate_stays_shut_under_every_name_of_the_model[http-none]",
    ),
    Guard(
        "a scope that lacks is told of where the model is no secret",
        "router/hub/errors.py",
        "status == 403 and question.with_token and question.visible",
        "status == 403 and question.with_token",
        "tests/hub/test_client.py::test_a_private_model_and_a_missing_one_can_not_be_told_apart",
    ),
    Guard(
        "a token that is there decides, for the operator's models too",
        "router/access/credentials.py",
        "        if caller is not None:\n            return Choice(caller, Source.CALLER)\n",
        "",
        _WARM + "the_operators_grant_is_not_for_a_token_that_the_hub_refuses[http-stranger]",
    ),
    Guard(
        "the list of models shows nothing that the caller may not use",
        "router/requests/service.py",
        "            if entitled\n",
        "",
        _WARM + "the_list_of_models_is_for_each_caller_another[http]",
    ),
    Guard(
        "one model is shown to who may use it",
        "router/requests/service.py",
        "admitted = await self._admission.admit(name, caller_token(hf_token, None))",
        "admitted = await self._admission.admit(name, self._settings.hf_token)",
        _ALIKE + "[http-name-unknown]",
    ),
    Guard(
        "nothing follows a name",
        "router/models.py",
        "_NAME.fullmatch(text)",
        "_NAME.match(text)",
        _NAMES + "test_what_is_not_strictly_a_name_goes_no_further[http]",
    ),
    Guard(
        "nothing follows a revision",
        "router/models.py",
        "_REVISION.fullmatch(text)",
        "_REVISION.match(text)",
        _NAMES + "test_what_is_not_strictly_a_name_goes_no_further[queue]",
    ),
    Guard(
        "an engine's other routes are out of reach",
        "router/requests/routes.py",
        '        Route("/v1/detokenize", _ANY),\n',
        '        Route("/v1/detokenize", _ANY),\n        Route("/flush_cache", _ANY),\n',
        _NAMES + "test_an_engines_own_routes_are_not_there[http]",
    ),
    Guard(
        "a path is compared, not searched",
        "router/http/server.py",
        "if path not in ROUTES:",
        "path = next((route for route in ROUTES if path.startswith(route)), path)\n"
        "        if path not in ROUTES:",
        _NAMES + "TestPaths::test_no_path_is_folded_into_a_route[http]",
    ),
    Guard(
        "the next waiter whose token may pays when the payer's is refused",
        "router/scheduler/machine.py",
        "                if waiter.payer not in slot.refused:\n"
        "                    self._books.fetch(slot, waiter)\n"
        "                    return\n",
        "                pass\n",
        _HAND_OVER + "the_next_pays_when_the_payers_token_is_refused[http]",
    ),
    Guard(
        "a token that was refused pays no more",
        "router/scheduler/machine.py",
        "slot.refused[slot.paying] = event.error",
        "pass",
        "tests/pool/test_pool_downloads.py::test_each_token_pays_once",
    ),
)
