"""The hosts that the server answers for, and the web pages that may call it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.access.keyring import Keyring
from router.config.parsers import as_origins, as_own_hosts
from router.errors import HostNotAllowed, InvalidRequest, OriginNotAllowed, RouterError
from router.http.headers import Headers
from router.http.sites import Sites
from tests.http.test_server import CHAT, code_of, raw, serving

HERE = Sites()
BEYOND = Sites(on_loopback=False)
LISTED = Sites(
    as_own_hosts("llm.example, *.below.example, [fd00::1]"),
    as_origins("https://app.example, http://localhost:3000/, chrome-extension://abcd"),
)


def headers(*fields: tuple[str, str]) -> Headers:
    return Headers(*fields)


def host_refusal(sites: Sites, *hosts: str, target: str = "/ping") -> str:
    try:
        sites.check_host(target, headers(*(("Host", host) for host in hosts)))
    except RouterError as error:
        return error.code
    return ""


def page_refusal(sites: Sites, *fields: tuple[str, str]) -> str:
    try:
        sites.check_page(headers(("Host", "localhost:8000"), *fields))
    except RouterError as error:
        return error.code
    return ""


MISDIRECTED, MALFORMED = HostNotAllowed.code, InvalidRequest.code
FOREIGN = OriginNotAllowed.code


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8000", "localhost.", "a.b.localhost", "localhost:"),
        *("127.0.0.1", "127.0.0.1:80", "127.1.2.3", "127.0.0.1."),
        *("[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ],
)
def test_a_loopback_host_is_answered_everywhere(host: str) -> None:
    assert [host_refusal(sites, host) for sites in (HERE, BEYOND, LISTED)] == ["", "", ""]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example"),
        *("0.0.0.0", "[::]", "10.0.0.1", "128.0.0.1", "[fe80::1]", "[::ffff:10.0.0.1]"),
        # No browser sends these: browsers write 127.0.0.1 instead.
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01"),
        *("localhost..", "x", "local-host", "llm.example.evil.example", "below.example.evil"),
    ],
)
def test_another_host_is_refused_on_loopback(host: str) -> None:
    assert host_refusal(HERE, host) == MISDIRECTED
    assert host_refusal(LISTED, host) == MISDIRECTED
    assert host_refusal(BEYOND, host) == ""


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", ".", "localhost:x", "localhost:99999", "localhost:1:2", ":80", "local host"),
        *("evil.example@localhost", "localhost@evil.example", "localhost/", "localhost?"),
        *("[::1%25lo]", "[::1", "::1", "[]", "[::1]x", "[12345::]", "localhost,evil.example"),
        *("evil%2eexample", "localhost\x00", "localhost\t", "lokälhost", "\udcff", "a" * 300),
    ],
)
def test_a_malformed_host_is_refused_where_it_matters(host: str) -> None:
    assert host_refusal(HERE, host) == MALFORMED
    assert host_refusal(BEYOND, host) == ""


def test_two_hosts_are_refused_everywhere() -> None:
    assert host_refusal(HERE, "localhost", "localhost") == MALFORMED
    assert host_refusal(BEYOND, "localhost", "evil.example") == MALFORMED


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("http://localhost/ping", ""),
        ("http://evil.example/ping", MISDIRECTED),
        ("HTTPS://evil.example", MISDIRECTED),
        ("http://evil.example?@localhost/", MISDIRECTED),
        ("http://localhost@evil.example/", MALFORMED),
        ("http:///ping", MALFORMED),
    ],
)
def test_the_host_of_an_absolute_url_counts_as_well(target: str, refusal: str) -> None:
    assert host_refusal(HERE, "localhost", target=target) == refusal


def test_a_request_of_http_1_0_needs_no_host() -> None:
    assert host_refusal(HERE) == ""


@pytest.mark.parametrize(
    ("host", "refusal"),
    [
        ("llm.example", ""),
        ("LLM.Example.:443", ""),
        ("[FD00:0::1]:80", ""),
        ("a.below.example", ""),
        ("a.b.below.example", ""),
        ("below.example", MISDIRECTED),
        ("other.llm.example", MISDIRECTED),
    ],
)
@pytest.mark.parametrize("on_loopback", [True, False])
def test_the_operators_hosts_are_answered(host: str, refusal: str, on_loopback: bool) -> None:
    assert host_refusal(Sites(LISTED.hosts, on_loopback=on_loopback), host) == refusal


def test_the_operator_may_allow_any_host() -> None:
    assert host_refusal(Sites(as_own_hosts("*")), "evil.example") == ""


# Pages


def test_what_is_no_page_is_not_affected() -> None:
    assert page_refusal(HERE) == ""


@pytest.mark.parametrize(
    "fields",
    [
        (("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "same-origin")),
        (("Origin", "HTTP://LOCALHOST:8000"),),
        (("Origin", "https://localhost:8000"),),  # a proxy speaks HTTPS
        (("Sec-Fetch-Site", "same-origin"),),
        (("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")),
    ],
)
def test_the_servers_own_pages_and_the_address_bar_may_call(
    fields: Sequence[tuple[str, str]],
) -> None:
    assert page_refusal(HERE, *fields) == ""


@pytest.mark.parametrize(
    "fields",
    [
        (("Origin", "http://evil.example"),),
        (("Origin", "http://evil.example:8000"), ("Sec-Fetch-Site", "same-origin")),
        (("Origin", "http://localhost"),),
        (("Origin", "http://localhost:8001"), ("Sec-Fetch-Site", "same-site")),
        (("Origin", "http://127.0.0.1:8000"),),
        (("Origin", "null"),),
        (("Origin", ""),),
        (("Origin", "file://"),),
        (("Origin", "moz-extension://localhost:8000"),),
        (("Origin", "http://localhost:8000/"),),
        (("Origin", "http://localhost:8000 http://evil.example"),),
        (("Origin", "http://localhost:8000"), ("Origin", "http://evil.example")),
        (("Origin", "http://localhost:8000"), ("Origin", "http://localhost:8000")),
        (("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "cross-site")),
        (("Sec-Fetch-Site", "cross-site"),),
        (("Sec-Fetch-Site", "same-site"),),
        (("Sec-Fetch-Site", "Cross-Site"),),
        (("Sec-Fetch-Site", ""),),
        (("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")),
    ],
)
def test_a_page_of_another_origin_is_refused_wherever_the_server_listens(
    fields: Sequence[tuple[str, str]],
) -> None:
    assert [page_refusal(sites, *fields) for sites in (HERE, BEYOND)] == [FOREIGN, FOREIGN]


@pytest.mark.parametrize(
    "origin",
    ["https://app.example", "https://APP.example:443", "http://localhost:3000"],
)
def test_a_listed_page_may_call(origin: str) -> None:
    fields = (("Origin", origin), ("Sec-Fetch-Site", "cross-site"))
    assert page_refusal(LISTED, *fields) == ""
    told = LISTED.response_headers(headers(*fields))
    assert told["Access-Control-Allow-Origin"] == origin
    assert "Access-Control-Allow-Credentials" not in told


@pytest.mark.parametrize(
    "origin",
    [
        *("http://app.example", "https://app.example:444", "https://app.example.evil.example"),
        *("https://evil.example", "null", "https://x.app.example", "https://app.example/"),
    ],
)
def test_a_page_that_is_not_listed_is_told_nothing(origin: str) -> None:
    assert page_refusal(LISTED, ("Origin", origin)) == FOREIGN
    told = LISTED.response_headers(headers(("Origin", origin)))
    assert "Access-Control-Allow-Origin" not in told
    assert told["Vary"] == "Origin"


def test_where_all_pages_may_call_none_is_repeated() -> None:
    sites = Sites(origins=as_origins("*"))
    asked = headers(("Origin", "null"), ("Sec-Fetch-Site", "cross-site"))
    sites.check_page(asked)
    assert sites.response_headers(asked)["Access-Control-Allow-Origin"] == "*"


@given(st.text(), st.text(), st.text())
def test_any_headers_are_admitted_or_refused(host: str, origin: str, site: str) -> None:
    host_refusal(LISTED, host, target=origin)
    page_refusal(LISTED, ("Host", host), ("Origin", origin), ("Sec-Fetch-Site", site))


# Settings


@pytest.mark.parametrize("text", ["a:80", "http://a", "a b", "*a", "a.*", "[::1", "a,*.*.b"])
def test_what_is_no_host_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match="hosts without ports"):
        as_own_hosts(text)


@pytest.mark.parametrize(
    "text", ["null", "app.example", "https://a/b", "https://*.a", "https://"]
)
def test_what_is_no_origin_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match="origins"):
        as_origins(text)


# Over HTTP


@pytest.mark.parametrize(
    "path", ["/ping", "/health", "/v1/models", "/v1/models/org/name", "/x"]
)
async def test_on_loopback_no_route_answers_another_host(path: str) -> None:
    async with serving() as running:
        request = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        told = await raw(running.port, request.encode())
        assert told.startswith(b"HTTP/1.1 421 ")
        assert b"ALLOWED_HOSTS" in told
        assert running.service.asked == []


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ({"Host": "evil.example"}, "host_not_allowed"),
        ({"Origin": "http://evil.example"}, "origin_not_allowed"),
        ({"Sec-Fetch-Site": "cross-site"}, "origin_not_allowed"),
    ],
)
async def test_a_refused_request_reaches_nothing(field: dict[str, str], code: str) -> None:
    async with serving() as running, running.post(headers=field) as response:
        assert await code_of(response) == code
        assert running.service.seen == []


@pytest.mark.parametrize(
    "path", ["/ping", "/v1/models", "/nowhere", "/v1/models/other/name", CHAT]
)
async def test_no_answer_is_guessed_at_or_embedded_by_a_browser(path: str) -> None:
    async with serving() as running:
        for method in ("GET", "POST"):
            async with running.client.request(method, path, json={}) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        told = await raw(running.port, b"this is not HTTP\r\n\r\n")
        assert b"X-Content-Type-Options: nosniff" in told


async def test_a_listed_page_asks_first_and_needs_no_key_for_that() -> None:
    async with serving(sites=LISTED, keys=Keyring({"right"})) as running:
        fields = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
            "Access-Control-Request-Private-Network": "true",
        }
        async with running.client.options(CHAT, headers=fields) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
            allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert {"authorization", "content-type", "x-hf-token", "*"} <= {*allowed}
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
            assert response.headers["Access-Control-Allow-Private-Network"] == "true"
            assert response.headers["Access-Control-Max-Age"] == "600"
        fields["Origin"] = "https://evil.example"
        async with running.client.options(CHAT, headers=fields) as response:
            assert response.status == 403
            assert not any(name.startswith("Access-Control") for name in response.headers)


async def test_a_listed_page_can_read_errors_too() -> None:
    async with serving(sites=LISTED, keys=Keyring({"right"})) as running:
        origin = {"Origin": "https://app.example"}
        async with running.post(headers=origin) as response:
            assert response.status == 401
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
            assert response.headers["Vary"] == "Origin"
