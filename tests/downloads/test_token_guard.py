"""The hosts that get a download's token, as a transport in place of the network sees them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx2
import pytest

from router.downloads.token_guard import Strayed, TokenGuard

HOME = "https://hub.example:8443/hf"
TREE = f"{HOME}/api/models/org/model/tree/{'a' * 40}"
BEARER = "Bearer hf_" + secrets.token_hex(17)

ELSEWHERE = [
    "https://hub.example/hf/api/x",
    "https://hub.example:9443/hf/api/x",
    "http://hub.example:8443/hf/api/x",
    "//evil.example/hf/api/x",
    "https://evil.example:8443/hf/api/x",
    "https://user:word@hub.example:8443/hf/api/x",
    "https://hub.example:8443@evil.example/hf/api/x",
    "https://hub.example.:8443/hf/api/x",
    "https://hub.example:8443\\@evil.example/hf/api/x",
    "https://h\u0443b.example:8443/hf/api/x",
    "https://hub.example.evil.example:8443/hf/api/x",
    "https://[::1]:8443/hf/api/x",
]
AT_HOME = [
    "?cursor=2",
    "/hf/api/models/org/model/tree/x?cursor=2",
    "HTTPS://HUB.EXAMPLE:8443/hf/api/x",
    "/\\evil.example/x",
    "\\\\evil.example/x",
]


@dataclass
class Wire:
    """Answers by path, and records the requests."""

    answers: dict[str, httpx2.Response] = field(default_factory=dict)
    sent: list[httpx2.Request] = field(default_factory=list)

    def client(self) -> httpx2.Client:
        guard = TokenGuard(HOME)
        return httpx2.Client(
            follow_redirects=True,
            transport=httpx2.MockTransport(self._answer),
            event_hooks={"request": [guard.request], "response": [guard.response]},
        )

    def get(self, url: str) -> httpx2.Response:
        with self.client() as client:
            return client.get(url, headers={"Authorization": BEARER})

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        return self.answers.get(str(request.url), httpx2.Response(200, json=[]))

    @property
    def with_token(self) -> list[str]:
        """The hosts that got the token."""
        told = [one for one in self.sent if BEARER in one.headers.get_list("Authorization")]
        return [one.url.netloc.decode() for one in told]


def redirect(location: str) -> httpx2.Response:
    return httpx2.Response(307, headers={"Location": location})


def linked(url: str, rel: str = "next") -> httpx2.Response:
    # Raw bytes, as they come over the wire.
    return httpx2.Response(200, headers=[(b"Link", f'<{url}>; rel="{rel}"'.encode())], json=[])


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_listings_next_page_is_asked_for_at_home(url: str) -> None:
    wire = Wire({TREE: linked(url)})
    following = httpx2.URL(wire.get(TREE).links["next"]["url"])
    assert (following.netloc, following.userinfo) == (b"hub.example:8443", b"")
    assert following.raw_path == b"/hf/api/x"


@pytest.mark.parametrize("url", AT_HOME)
def test_a_next_page_at_home_is_where_it_says(url: str) -> None:
    following = Wire({TREE: linked(url)}).get(TREE).links["next"]["url"]
    assert following == str(httpx2.URL(TREE).join(url))


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_question_is_redirected_to_another_origin(url: str) -> None:
    wire = Wire({TREE: httpx2.Response(307, headers=[(b"Location", url.encode())])})
    with pytest.raises(Strayed):
        wire.get(TREE)
    assert len(wire.sent) == 1


def test_nor_at_the_end_of_a_chain() -> None:
    moved = f"{HOME}/api/models/org/new"
    wire = Wire({TREE: redirect(moved), moved: redirect("https://evil.example/x")})
    with pytest.raises(Strayed):
        wire.get(TREE)
    assert [str(one.url) for one in wire.sent] == [TREE, moved]


@pytest.mark.parametrize("url", ["https://hub.example:port/x", "https://a\tb/"])
@pytest.mark.parametrize("answer", [redirect, linked])
def test_an_address_that_is_none_is_not_followed(
    answer: Callable[[str], httpx2.Response], url: str
) -> None:
    wire = Wire({TREE: answer(url)})
    with pytest.raises(Strayed):
        wire.get(TREE)
    assert len(wire.sent) == 1


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_file_elsewhere_is_fetched_without_the_token(url: str) -> None:
    file = f"{HOME}/org/model/resolve/{'a' * 40}/model.safetensors"
    wire = Wire({file: httpx2.Response(302, headers=[(b"Location", url.encode())])})
    wire.get(file)
    assert len(wire.sent) == 2
    assert wire.with_token == ["hub.example:8443"]


def test_no_request_takes_the_token_elsewhere_even_if_the_client_says_so() -> None:
    wire = Wire()
    for url in ("https://huggingface.co/x", "https://hf.co/x", "http://hub.example:8443/hf/x"):
        wire.get(url)
    assert not wire.with_token


@pytest.mark.parametrize("url", ELSEWHERE)
def test_xet_is_sent_for_its_own_token_at_home(url: str) -> None:
    file = f"{HOME}/org/model/resolve/main/model.safetensors"
    by_link = Wire({file: linked(url, "xet-auth")}).get(file)
    raw = [(b"X-Xet-Refresh-Route", url.encode())]
    by_header = Wire({file: httpx2.Response(200, headers=raw)}).get(file)
    home = "https://hub.example:8443/hf/api/x"
    assert by_link.links["xet-auth"]["url"] == home
    assert by_header.headers["X-Xet-Refresh-Route"] == home
