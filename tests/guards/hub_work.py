"""Questions to the Hub: who asks them, how many, where they go, and what silence means."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never

_HOME = "tests/downloads/test_token_guard.py::test_"
_TOKEN = "router.downloads.token_guard:TokenGuard"

GUARDS = (
    Guard(
        "A listing goes on at HF_ENDPOINT's origin",
        _TOKEN + ".response",
        drop("_bring_home"),
        "tests/security/test_token_stays_home.py::"
        "test_a_listing_that_goes_on_elsewhere_is_read_at_home[http-other_port]",
    ),
    Guard(
        "A listing is not read at another origin",
        _TOKEN + ".response",
        drop("_check_redirect"),
        "tests/security/test_token_stays_home.py::"
        "test_a_listing_that_is_elsewhere_is_not_read[queue]",
    ),
    Guard(
        "A download's token goes to HF_ENDPOINT's origin alone",
        _TOKEN + ".request",
        never("owns"),
        _HOME + "no_request_takes_the_token_elsewhere_even_if_the_client_says_so",
    ),
    Guard(
        "An address with a user name is not the Hub's",
        "router.hub.origin:HubOrigin.owns",
        body("return url.origin == self._endpoint.origin"),
        _HOME
        + "a_listings_next_page_is_asked_for_at_home"
        + "[https://user:word@hub.example:8443/hf/api/x]",
    ),
)
