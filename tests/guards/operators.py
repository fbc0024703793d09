"""Guards: only the operator sees information about all models."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import never, swap, without

_TEST = "tests/http/test_operator.py::test_"
_ROUTES = "tests/http/test_admin_routes.py::test_"
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
    Guard(
        "Where callers need keys, one on this machine may be a proxy",
        "router.http.routes:Routes._guard",
        without("needed"),
        _ROUTES + "where_callers_need_keys_and_there_is_no_key_the_routes_do_not_exist",
    ),
    Guard(
        "The page is for all where there is a key, and what it shows is not",
        "router.http.operator:OperatorGuard.admits",
        without("shows_data"),
        "tests/http/test_page_routes.py::test_with_a_key_the_page_needs_none_and_what_it_shows_does",
    ),
    Guard(
        "What an engine says may hold a secret, and is shown without it",
        "router.admin.state:StateWriter._text",
        swap("self._redact(_1)", "_1"),
        "tests/admin/test_admin.py::test_the_text_of_a_failure_holds_no_secret",
    ),
    Guard(
        "What was decided by models that the operator no longer names does not count",
        "router.access.authorize:Admission.admit",
        never("configured"),
        "tests/access/test_authorize.py::"
        "test_a_decision_that_was_begun_for_former_models_is_made_again",
    ),
)
