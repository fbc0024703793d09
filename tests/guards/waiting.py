"""Rights that end while a request waits end the request."""

from __future__ import annotations

from tests.guards.guard import Guard

_FILE, _TEST = "router/requests/service.py", "tests/requests/test_service.py::test_"

GUARDS = (
    Guard(
        "a refusal ends a request that waits",
        _FILE,
        "await self._renew(order, self._clock() + _GLANCE)",
        "pass",
        _TEST + "rights_that_end_while_a_request_waits_end_the_request",
    ),
    Guard(
        "who has waited is asked about before the engine is",
        _FILE,
        "                    await self._renew(order, queued_until)\n",
        "                    pass\n",
        _TEST + "who_waited_is_asked_about_once_more_before_the_engine_is[silence]",
    ),
    Guard(
        "silence withdraws no grant of the operator's",
        "router/access/authorize.py",
        "operator.ref, choice)\n                return\n        await self._hub",
        "operator.ref, choice)\n        await self._hub",
        _TEST + "the_operators_models_go_on_waiting_while_the_hub_is_silent",
    ),
)
