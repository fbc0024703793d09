import base64
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRequest
from router.requests.manifests import holds_media
from tests.requests.test_call import message, upstream

PNG = "data:image/png;base64,iVBORw0KGgo="
LISTED = "https://img.example.org/a.png"
ELSEWHERE = [
    "file:///etc/passwd",
    "/etc/passwd",
    "etc/passwd.png",
    "http://img.example.org/a.png",
    "https://other.example.org/a.png",
    "https://img.example.org.evil.example/a.png",
    "https://img.example.org@evil.example/a.png",
    "https://evil.example\\@img.example.org/a.png",
    "https://img.example.org:8000/a.png",
    "https://127.0.0.1/a.png",
    "HTTPS://img.example.org/a.png",
    "https://img.example.org/a b.png",
    "https://img.example.org/a\n.png",
    "DATA:image/png;base64,aGk=",
    "data:/../../etc/a.png",
    "data:image/png;base64,/etc/passwd",
    "data:image/png;base64,/etc/pass\nwd",
    "ftp://img.example.org/a.png",
    "",
]


def part(kind: str, url: object) -> dict[str, object]:
    return {"type": kind, kind: url}


def forms(url: str) -> dict[str, tuple[str, dict[str, object]]]:
    """Every place where SGLang looks for media."""
    chat = "/v1/chat/completions"
    called_base64 = {"type": "base64", "url": url, "data": ""}
    tool = {"type": "tool_result", "content": [{"type": "image", "source": {"url": url}}]}
    return {
        "image": (chat, message(part("image_url", {"url": url}))),
        "video": (chat, message(part("video_url", {"url": url}))),
        "audio": (chat, message(part("audio_url", {"url": url}))),
        "image, called base64": (chat, message(part("image_url", called_base64))),
        "bare": (chat, message(part("image_url", url))),
        "tokenize": ("/v1/tokenize", message(part("image_url", {"url": url}))),
        "responses": (
            "/v1/responses",
            {
                "input": [
                    {"role": "user", "content": [part("input_image", url) | {"image_url": url}]}
                ]
            },
        ),
        "responses, a tool's": (
            "/v1/responses",
            {"input": [{"type": "function_call_output", "output": [{"image_url": url}]}]},
        ),
        "messages": (
            "/v1/messages",
            message({"type": "image", "source": {"type": "url", "url": url}}),
        ),
        "messages, a tool's": ("/v1/messages", message(tool)),
        "rerank, query": ("/v1/rerank", {"query": [part("image_url", {"url": url})]}),
        "rerank, document": ("/v1/rerank", {"documents": [[part("video_url", {"url": url})]]}),
        "embeddings": ("/v1/embeddings", {"input": [{"text": "a", "image": url}]}),
        "embeddings, one": ("/v1/embeddings", {"input": {"text": "a", "image": url}}),
        "generate": ("/generate", {"image_data": url}),
        "generate, many": ("/generate", {"video_data": [[None, url]]}),
        "generate, object": ("/generate", {"audio_data": [{"url": url}]}),
    }


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("form", forms(""))
def test_media_from_elsewhere_is_refused_wherever_it_stands(form: str, url: str) -> None:
    path, body = forms(url)[form]
    with pytest.raises(InvalidRequest, match="data:") as refused:
        upstream(body, path, "img.example.org")
    assert [refused.value.param] == list(body)


MANIFESTS = [
    b'<MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><BaseURL>http://[::1]/</BaseURL>',
    b'<mpd profiles="x"><!-- urn:mpeg:DASH:Profile: -->',
    b'<MPD profiles="urn:3GPP:PSS:profile:DASH1">',
    b"\xef\xbb\xbf"
    + b" " * (1 << 20)
    + b'<MPD profiles="urn:mpeg:dash:profile:isoff-live:2011">',
    b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/\n",
    b"ffconcat version 1.0\nfile passwd\n",
    b"v=0\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    b'<?xml version="1.0"?><CompositionPlaylist>',
]


@pytest.mark.parametrize("number", range(len(MANIFESTS)))
@pytest.mark.parametrize("form", forms(""))
def test_a_list_of_where_media_are_is_no_media(form: str, number: int) -> None:
    encoded = base64.b64encode(MANIFESTS[number]).decode()
    path, body = forms(f"data:video/mp4;base64,{encoded}")[form]
    with pytest.raises(InvalidRequest, match="data:"):
        upstream(body, path)


def test_nor_is_it_as_bare_base64() -> None:
    with pytest.raises(InvalidRequest):
        upstream({"video_data": base64.b64encode(MANIFESTS[0]).decode()}, "/generate")


def encoded_forms(data: str) -> dict[str, tuple[str, dict[str, object]]]:
    """The places where SGLang takes base64 and adds the `data:` itself."""
    audio = part("input_audio", {"data": data, "format": "wav"})
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return {
        "inline audio": ("/v1/chat/completions", message(audio)),
        "messages": ("/v1/messages", message({"type": "image", "source": source})),
    }


@pytest.mark.parametrize(
    "data", [base64.b64encode(MANIFESTS[0]).decode(), "a,b", "/etc/passwd"]
)
@pytest.mark.parametrize("form", encoded_forms(""))
def test_nor_where_only_base64_is_taken(form: str, data: str) -> None:
    path, body = encoded_forms(data)[form]
    with pytest.raises(InvalidRequest, match="data:"):
        upstream(body, path)


@pytest.mark.parametrize("form", encoded_forms(""))
def test_base64_passes_where_it_is_taken(form: str) -> None:
    path, body = encoded_forms("aGk=")[form]
    assert upstream(body, path)["messages"] == body["messages"]


def test_what_ffmpeg_does_not_look_at_is_not_looked_at_here() -> None:
    video = bytes(4 << 20) + MANIFESTS[0]
    url = f"data:video/mp4;base64,{base64.b64encode(video).decode()}"
    assert upstream({"video_data": url}, "/generate")["video_data"] == url


@pytest.mark.parametrize("url", [PNG, LISTED])
@pytest.mark.parametrize("form", forms(""))
def test_data_urls_and_listed_hosts_pass_unchanged(form: str, url: str) -> None:
    path, body = forms(url)[form]
    sent = upstream(body, path, "img.example.org")
    assert str(sent).count(url) == str(body).count(url)


def test_without_listed_hosts_nothing_is_fetched() -> None:
    with pytest.raises(InvalidRequest):
        upstream(message(part("image_url", {"url": LISTED})))


@given(st.binary(min_size=1).map(base64.b64encode).map(bytes.decode).filter(holds_media))
def test_bare_base64_on_the_native_route_can_not_be_a_path(data: str) -> None:
    sent = upstream({"image_data": [data]}, "/generate")["image_data"]
    assert sent == [f"data:application/octet-stream;base64,{data}"]


@given(st.text(st.characters(codec="utf-8")))
def test_whatever_passes_begins_with_data_or_is_of_a_listed_host(url: str) -> None:
    try:
        sent = upstream({"image_data": url}, "/generate", "img.example.org")["image_data"]
    except InvalidRequest:
        return
    assert re.match(r"data:|https://img\.example\.org(:443)?(/|$)", str(sent))


@pytest.mark.parametrize("value", [{"format": "processor_output"}, 1, True, {"url": 1}])
def test_other_kinds_of_native_media_are_refused(value: object) -> None:
    with pytest.raises(InvalidRequest):
        upstream({"image_data": [value]}, "/generate")


def test_a_callers_claim_of_what_an_image_is_does_not_go_upstream() -> None:
    url = {"url": PNG, "detail": "low", "content_hash": "sha256:00"}
    assert "content_hash" not in str(upstream(message(part("image_url", url))))


def test_urls_that_are_text_are_left_alone() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "see file:///etc/passwd and http://example.org"},
            {
                "role": "assistant",
                "tool_calls": [{"function": {"arguments": {"image_url": "http://x.example"}}}],
            },
            {"role": "user", "content": [{"type": "text", "text": "/etc/passwd"}]},
            {
                "role": "user",
                "content": [{"type": "search_result", "source": "http://x.example"}],
            },
        ],
        "tools": [{"function": {"parameters": {"image_url": "http://x.example"}}}],
    }
    assert upstream(body) == {**body, "model": "served", "cache_salt": "salt"}


def test_base64_of_line_breaks_alone_takes_no_long_time() -> None:
    """Trying each of its splits would block everybody for weeks, with a body of 32 MiB."""
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        upstream({"image_data": "\n" * 60_000 + "!"}, "/generate")
    assert time.process_time() - began < 3.0


FEW = ("/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/v1/responses", "/generate")


def many(path: str, count: int, kind: str = "image") -> dict[str, object]:
    """A request with so many media, in one list or in several, with the route's own field
    names."""
    if path == "/generate":
        return {f"{kind}_data": [[PNG, "aGk="] for _ in range(count // 2)]}
    if path == "/v1/embeddings":
        return {"input": [{"text": "a", kind: PNG} for _ in range(count)]}
    if path == "/v1/responses":
        return {"input": [{"content": [part(f"{kind}_url", PNG)]} for _ in range(count)]}
    source = {"type": "base64", "data": "aGk="}
    image = part(f"{kind}_url", {"url": PNG})
    one = {"type": "image", "source": source} if path == "/v1/messages" else image
    return {"messages": [{"role": "user", "content": [one, one]} for _ in range(count // 2)]}


@pytest.mark.parametrize("path", FEW)
def test_a_request_has_few_media_wherever_they_stand(path: str) -> None:
    assert upstream(many(path, 128), path)
    with pytest.raises(InvalidRequest, match="128 images") as refused:
        upstream(many(path, 130), path)
    assert refused.value.param in ("messages", "input", "image_data")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/generate"])
def test_a_request_has_very_few_videos(path: str) -> None:
    assert upstream(many(path, 8, "video"), path)
    with pytest.raises(InvalidRequest, match="8 videos"):
        upstream(many(path, 10, "video"), path)


def test_media_count_across_fields_and_kinds() -> None:
    sounds = {"audio_data": ["aGk="] * 64}
    assert upstream({"image_data": ["aGk="] * 64, **sounds}, "/generate")
    with pytest.raises(InvalidRequest, match="128 images"):
        upstream({"image_data": ["aGk="] * 65, **sounds}, "/generate")


@pytest.mark.parametrize("path", FEW)
def test_what_is_no_medium_does_not_count(path: str) -> None:
    fields = {"image_data": [None] * 1000} if path == "/generate" else {}
    text = [{"role": "user", "content": [{"type": "text", "text": "x"}]}] * 1000
    assert upstream({**fields} if fields else {"messages": text, "input": text}, path)
