"""The head of one request, read by the parser that uvicorn has.

The parser sees each head alone and is dropped with it. The end of a head and the body behind
it are found here, where their bounds are.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote

import httptools

from router.errors import HeadersTooLarge, InvalidRequest
from router.http.headers import Headers

_END = b"\r\n\r\n"
_MOST_HEAD = 64 * 1024  # bytes
_LONGEST_FIELD = 8190  # bytes of one line
_MOST_FIELDS = 128
# What can't become a head any more: a caller that speaks another protocol is told at once.
_HOPELESS = re.compile(rb"\A[^A-Z]|(?<!\r)\n|\0")
_BREAKS = re.compile(rb"[\r\n]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_VERSIONS = {b" HTTP/1.1": True, b" HTTP/1.0": False}


class RequestHead:
    """What a head says.

    * `target`: as in the request line; `path`: decoded, without the query.
    * `modern`: HTTP/1.1, else 1.0.
    * `keeps`: the connection may take another request.
    * `length`: bytes of the body; None: it comes in chunks.
    """

    __slots__ = (
        "_complete",
        "_url",
        "headers",
        "keeps",
        "length",
        "method",
        "modern",
        "path",
        "target",
    )

    def __init__(self) -> None:
        self._url, self._complete = b"", False
        self.headers = Headers()
        self.length: int | None = 0
        self.method = self.target = self.path = ""
        self.modern = self.keeps = True

    @classmethod
    def read(cls, data: bytes) -> RequestHead:
        """Read a head, whole and alone. Raises `InvalidRequest` and `HeadersTooLarge`."""
        head = cls()
        parser = httptools.HttpRequestParser(head)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer of another protocol, which is not taken up
        except httptools.HttpParserError:
            raise not_http() from None
        end = data.index(b"\r\n")
        modern = _VERSIONS.get(data[end - 9 : end])
        if modern is None or not head._complete:
            raise not_http()
        head.modern, head.method = modern, parser.get_method().decode("ascii")
        head._finish()
        return head

    def query(self, name: str) -> str:
        """The first value of that name in the query; "": none."""
        _, _, query = self.target.partition("#")[0].partition("?")
        return parse_qs(query).get(name, [""])[0]

    def _finish(self) -> None:
        headers = self.headers
        self.target = self._url.decode("ascii")
        self.path = _path_of(self.target)
        self.keeps = self.modern
        if "connection" in headers:
            said = ",".join(headers.getall("connection")).lower().split(",")
            options = {one.strip() for one in said}
            self.keeps = "close" not in options and (self.modern or "keep-alive" in options)
        if "transfer-encoding" in headers:
            # Anything else, and another server before this one may see another end of the body.
            if headers.get("transfer-encoding").lower() != "chunked" or not self.modern:
                raise not_http()
            self.length = None
        elif "content-length" in headers:
            self.length = int(headers.get("content-length"))

    # --- the parser's calls ----------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.add(
            name.decode("ascii").lower(),
            value.rstrip(b" \t").decode("utf-8", "surrogateescape"),
        )

    def on_headers_complete(self) -> None:
        self._complete = True


def breaks_before(data: bytes, at: int) -> int:
    """How many bytes of line breaks come first: old clients send them behind a body."""
    found = _BREAKS.match(data, at)
    return found.end() - at if found else 0


def end_of_head(data: bytes, at: int, seen: int) -> int:
    """Where the head ends that begins `at`; 0: it has not come whole.

    `seen`: how many of its bytes were looked at before. Raises `HeadersTooLarge`, and
    `InvalidRequest` where it can't become a head any more.
    """
    end = data.find(_END, at + max(0, seen - 3), at + _MOST_HEAD + len(_END))
    if end < 0:
        if len(data) - at > _MOST_HEAD:
            raise _too_large()
        if _HOPELESS.search(data[at:], max(0, seen - 1)):
            raise not_http()
        return 0
    if data.count(b"\n", at, end) > _MOST_FIELDS or (
        end - at > _LONGEST_FIELD
        and max(map(len, data[at:end].split(b"\r\n"))) > _LONGEST_FIELD
    ):
        raise _too_large()
    return end + len(_END)


def not_http() -> InvalidRequest:
    return InvalidRequest("This is not a valid HTTP request.")


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge("The request line or the headers are too long.")


def _path_of(target: str) -> str:
    if not target.startswith("/") and (found := _ABSOLUTE.match(target)):
        target = target[found.end() :]
        target = target if target.startswith("/") else f"/{target}"
    path = target.partition("?")[0].partition("#")[0]
    return unquote(path) if "%" in path else path
