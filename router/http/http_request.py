"""One HTTP request, and what the router learns about it while it is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from router.access.rates import Usage
from router.http.headers import Headers
from router.http.read_buffer import ReadBuffer
from router.http.request_body import RequestBody
from router.http.request_head import RequestHead
from router.requests.record import Record


class Wire(Protocol):
    """The connection of a request."""

    @property
    def ends(self) -> bool:
        """The connection takes no further requests."""
        ...

    @property
    def over(self) -> bool:
        """The caller left, or the connection is closing."""
        ...

    @property
    def gave_up(self) -> bool:
        """The connection ended because the caller did not read its answer."""
        ...

    def send(self, data: bytes) -> bool:
        """Return False if the caller reads too slowly: then wait for `drained`. Raises
        `ConnectionResetError` if the caller left."""
        ...

    async def drained(self) -> None: ...

    def stamp(self) -> str:
        """The `Date` and `Server` headers of an answer."""
        ...


class HttpRequest:
    """`status` is the status of the answer once its head is sent, and 0 before.

    The server sets the other attributes: `always`, the headers that every answer gets;
    `record`; `caller`, identified by its API key; and `usage`, which the request is charged to.
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

    def __init__(self, head: RequestHead, wire: Wire, buffer: ReadBuffer) -> None:
        self.head, self.wire = head, wire
        self.body = RequestBody(head.length, buffer)
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
        """The path, decoded and without the query."""
        return self.head.path

    @property
    def headers(self) -> Headers:
        return self.head.headers

    @property
    def content_type(self) -> str:
        return self.head.headers.get("content-type").partition(";")[0].strip().lower()

    def ask_for_body(self) -> None:
        """Send `100 Continue` if the caller waits for it (RFC 9110, 10.1.1)."""
        if self.head.modern and self.headers.get("expect").lower() == "100-continue":
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
