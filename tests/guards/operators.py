"""What tells of all models is for the operator."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import never

_TEST = "tests/http/test_operator.py::test_"
_CHECK = "router.http.operator:OperatorGuard.check"
_LOCAL = "router.http.operator:OperatorGuard._is_local"

GUARDS = (
    Guard(
        "Where there is a key, it is needed",
        _CHECK,
        never("compare_digest"),
        _TEST + "with_a_key_nobody_gets_in_without_it_not_even_on_loopback",
    ),
    Guard(
        "Without a key, the operator's routes are not there for others",
        _CHECK,
        never("_is_local"),
        _TEST + "without_a_key_the_routes_do_not_exist_beyond_loopback",
    ),
    Guard(
        "A proxy on this machine brings requests from elsewhere",
        _LOCAL,
        never("on_loopback"),
        _TEST + "without_a_key_pages_and_proxies_are_not_the_operator",
    ),
)
