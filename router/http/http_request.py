"""One request over HTTP, and what is known of it on its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from router.access.rates import Usage
from router.http.ahead import Ahead
from router.http.headers import Headers
from router.http.request_body import RequestBody
from router.http.request_head import RequestHead
from router.requests.record import Record


class Wire(Protocol):
    """The connection that a request came on."""

    @property
    def ends(self) -> bool:
        """It takes no further request."""
        ...

    @property
    def over(self) -> bool:
        """The caller left, or nothing more is sent to it."""
        ...

    @property
    def gave_up(self) -> bool:
        """It ended because an answer was not read."""
        ...

    def send(self, data: bytes) -> bool:
        """False: the caller reads slower than it is sent to, so wait until it has `drained`.
        Raises `ConnectionResetError` where the caller left."""
        ...

    async def drained(self) -> None: ...

    def stamp(self) -> str:
        """The two headers that say when and by what an answer was made."""
        ...


class HttpRequest:
    """`status`: of the answer's head, once it was sent; 0 before.

    The server adds `always`, the headers of every answer to it; `record`, `caller` (by its API
    key) and `usage`, which the request counts against.
    """

    __slots__ = (
        "always",
        "body",
        "caller",
        "head",
        "keeps",
        "record",
        "status",
        "usage",
        "wire",
    )

    def __init__(self, head: RequestHead, wire: Wire, ahead: Ahead) -> None:
        self.head, self.wire = head, wire
        self.body = RequestBody(head.length, ahead)
        self.keeps = head.keeps
        self.status = 0
        self.always: Mapping[str, str] = {}
        self.record: Record
        self.caller = ""
        self.usage: Usage | None = None

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def path(self) -> str:
        """Decoded, without the query."""
        return self.head.path

    @property
    def headers(self) -> Headers:
        return self.head.headers

    @property
    def content_type(self) -> str:
        return self.head.headers.get("content-type").partition(";")[0].strip().lower()

    def ask_for_body(self) -> None:
        """Have a caller send it that waits for that (RFC 9110, 10.1.1)."""
        if self.head.modern and self.headers.get("expect").lower() == "100-continue":
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
