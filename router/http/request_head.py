"""Parses the head of one request with httptools, the parser of uvicorn.

Each head gets its own parser, which never sees the body. This module finds the end of a head
itself, because that is where the size limits apply.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote

import httptools

from router.errors import HeadersTooLarge, InvalidRequest
from router.http.headers import Headers

_END = b"\r\n\r\n"
_MOST_HEAD = 64 * 1024  # bytes
_LONGEST_FIELD = 8190  # bytes per line
_MOST_FIELDS = 128
# Bytes that can't begin or continue a head. A caller with another protocol is refused at once.
_HOPELESS = re.compile(rb"\A[^A-Z]|(?<!\r)\n|\0")
_BREAKS = re.compile(rb"[\r\n]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_VERSIONS = {b" HTTP/1.1": True, b" HTTP/1.0": False}


class RequestHead:
    """The parsed head of a request.

    * `target`: as in the request line; `path`: decoded, without the query.
    * `modern`: HTTP/1.1, not 1.0.
    * `keeps`: the connection may take another request.
    * `length`: bytes of the body; None: chunked.
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
        """Parse exactly one complete head. Raises `InvalidRequest` or `HeadersTooLarge`."""
        head = cls()
        parser = httptools.HttpRequestParser(head)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer to upgrade the protocol, which the server ignores
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
        """The first value of this name in the query; "" if there is none."""
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
            # Refuse everything else: a proxy might see another end of the body.
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
    """Count the line breaks before a head, in bytes: old clients send them after a body."""
    found = _BREAKS.match(data, at)
    return found.end() - at if found else 0


def end_of_head(data: bytes, at: int, seen: int) -> int:
    """Return the end of the head that begins at `at`, or 0 if it is incomplete.

    `seen` is the number of its bytes that were searched before. Raises `HeadersTooLarge`, or
    `InvalidRequest` if the bytes can't be part of a head.
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
