"""The guard of the operator's routes."""

from __future__ import annotations

import secrets

import pytest

from router.errors import InvalidApiKey, RouteNotFound
from router.http.operator import OperatorGuard
from router.http.request_head import RequestHead
from router.secrets import Secret


def request(path: str = "/metrics", **headers: str) -> RequestHead:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {"Host": "127.0.0.1:8000", **named}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return RequestHead.read("\r\n".join([*lines, "", ""]).encode())


def test_the_right_key_lets_the_operator_in() -> None:
    key = secrets.token_hex(16)
    guard = OperatorGuard(Secret(key))
    guard.check(request(Authorization=f"Bearer {key}"))
    guard.check(request(x_api_key=key))


@pytest.mark.parametrize("on_loopback", [True, False])
def test_with_a_key_nobody_gets_in_without_it_not_even_on_loopback(on_loopback: bool) -> None:
    key = secrets.token_hex(16)
    guard = OperatorGuard(Secret(key), on_loopback=on_loopback)
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {key}"}):
        with pytest.raises(InvalidApiKey):
            guard.check(request(**headers))


def test_a_key_in_the_query_is_not_read() -> None:
    key = secrets.token_hex(16)
    with pytest.raises(InvalidApiKey):
        OperatorGuard(Secret(key)).check(request(f"/metrics?key={key}"))


def test_without_a_key_the_operator_is_on_this_machine() -> None:
    OperatorGuard(None, on_loopback=True).check(request())
    OperatorGuard(None, on_loopback=True).check(request(Host="localhost:8000"))


def test_without_a_key_the_routes_do_not_exist_beyond_loopback() -> None:
    with pytest.raises(RouteNotFound):
        OperatorGuard(None, on_loopback=False).check(request())


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "https://page.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"X_Forwarded_For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X_Forwarded_Proto": "https"},
        {"x_forwarded_host": "worker.example"},
        {"X_Envoy_Expected_Rq_Timeout_Ms": "15000"},
        {"CF_Connecting_IP": "203.0.113.9"},
        {"Tailscale_User_Login": "somebody"},
    ],
    ids=str,
)
def test_without_a_key_pages_and_proxies_are_not_the_operator(headers: dict[str, str]) -> None:
    with pytest.raises(RouteNotFound):
        OperatorGuard(None, on_loopback=True).check(request(**headers))
