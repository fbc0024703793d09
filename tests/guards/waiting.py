"""Guards: a waiting request ends when its rights end."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop

_TEST = "tests/requests/test_service.py::test_"

GUARDS = (
    Guard(
        "A refusal ends a waiting request",
        "router.requests.engine_call:EngineCall._wait",
        drop("_renew").nth(1, of=2),
        _TEST + "rights_that_end_while_a_request_waits_end_the_request",
    ),
    Guard(
        "After waiting, a request is authorized again before it reaches the engine",
        "router.requests.engine_call:EngineCall._wait",
        drop("_renew").nth(2, of=2),
        _TEST + "a_request_that_waited_is_authorized_once_more_before_it_is_sent[silence]",
    ),
    Guard(
        "After its engine died, a request is authorized again before the next one gets it",
        "router.requests.engine_call:EngineCall.reach",
        drop("_renew"),
        _TEST + "a_request_whose_engine_died_is_authorized_once_more_before_it_is_sent_again"
        "[withdrawn]",
    ),
    Guard(
        "The Hub's silence withdraws no grant of the operator's",
        "router.access.authorize:Admission.renew",
        drop("return"),
        _TEST + "the_operators_models_go_on_waiting_while_the_hub_is_silent",
    ),
)
