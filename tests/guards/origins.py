"""Guards: a loopback address proves no identity; foreign hosts and web pages are refused."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap

_PAGES = "tests/security/test_web_pages.py::test_"
_SITES = "tests/http/test_sites.py::test_"

GUARDS = (
    Guard(
        "On loopback only loopback hosts and the operator's are answered",
        "router.http.sites:Sites.check_host",
        never("_is_ours"),
        _SITES + "another_host_is_refused_on_loopback",
    ),
    Guard(
        "No route is reached past the check of the host",
        "router.http.server:HttpServer._admit",
        drop("check_host"),
        _SITES + "on_loopback_no_route_answers_another_host",
    ),
    Guard(
        "A host is read as browsers write it, and in no other form",
        "router.config.hosts:Authority.read",
        body("return cls(text.rpartition('@')[2].partition(':')[0].lower(), None)"),
        _SITES + "a_malformed_host_is_refused_where_it_matters",
    ),
    Guard(
        "The host of an absolute URL counts as well",
        "router.http.sites:Sites.check_host",
        drop("absolute", "append"),
        _SITES + "the_host_of_an_absolute_url_counts_as_well",
    ),
    Guard(
        "Two hosts are none",
        "router.http.sites:Sites.check_host",
        never("len"),
        _SITES + "two_hosts_are_refused_everywhere",
    ),
    Guard(
        "A foreign origin is refused",
        "router.http.sites:Sites.check_page",
        never("_is_own"),
        _SITES + "a_page_of_another_origin_is_refused_wherever_the_server_listens",
    ),
    Guard(
        "So is a page that sends no origin, by what the browser says of it",
        "router.http.sites:Sites.check_page",
        never("_OWN_PAGES"),
        _SITES + "a_page_of_another_origin_is_refused_wherever_the_server_listens",
    ),
    Guard(
        "Only listed origins are told that they may read",
        "router.http.sites:Sites.listed_origin",
        swap("Origin.read(_) in self.origins", "True"),
        _SITES + "a_page_that_is_not_listed_is_told_nothing",
    ),
    Guard(
        "Every answer says that it is no page, script or image",
        "router.http.sites:Sites.response_headers",
        body("return {}"),
        _SITES + "no_answer_is_guessed_at_or_embedded_by_a_browser",
    ),
    Guard(
        "In a real browser, a name that was rebound gets no private model",
        "router.http.sites:Sites.check_host",
        body("return"),
        _PAGES + "a_name_that_was_rebound_gets_no_private_model",
    ),
    Guard(
        "In a real browser, no page of another origin has the worker look for a model",
        "router.http.sites:Sites.check_page",
        body("return"),
        _PAGES + "a_page_of_another_origin_learns_nothing_of_a_private_model",
    ),
    Guard(
        "In a real browser, a listed page can call",
        "router.http.sites:Sites.preflight",
        body("return None"),
        _PAGES + "a_listed_page_may_call_and_reads_answers_streams_and_errors",
    ),
)
