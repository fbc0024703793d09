"""The input of the service: one request, independent of the transport."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from router.requests.record import Record
from router.side_process import Body, size


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `repr` shows neither the token nor the content."""

    route: str  # the router's path, such as "/v1/chat/completions"
    body: Body  # JSON, as received
    hf_token: str | None = None  # from the header or the job, unchecked
    caller: str = ""  # identifies the caller (a digest of the API key); never a secret
    record: Record = field(default_factory=Record, compare=False)  # filled while it is served

    def __repr__(self) -> str:
        return f"Request({self.route!r}, {size(self.body)} bytes, caller={self.caller!r})"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a request without an answer. Sizes are in bytes, times in seconds."""

    # "authorizing", "queued", "fetching", "starting", "waking", "generating"
    stage: str
    done: int = 0  # bytes on disk, while fetching
    total: int = 0
    seconds: float | None = None  # until the engine answers; None: unknown
    why: str = ""  # what it waits for, as text

    def __str__(self) -> str:
        """The progress as text for a person."""
        share = f" {self.done / self.total:.0%} of {self.total} bytes" if self.total else ""
        eta = "" if self.seconds is None else f", about {ceil(self.seconds)} s left"
        return f"{self.why or self.stage}{share}{eta}"


Report = Callable[[Progress], None]
