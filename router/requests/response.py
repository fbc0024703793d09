"""What a transport hands to the service, and what it gets back, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One call, freed of its transport."""

    route: str  # as the router knows it: "/v1/chat/completions"
    body: bytes  # JSON, as it came
    hf_token: str | None = None  # from the transport's own place for it, unchecked
    caller: str = ""  # tells callers apart (a digest of the API key); never a secret


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing to send yet. Only ever before the Head, every few seconds."""

    stage: str  # "queued", "fetching", "starting"
    stream: bool  # whether the caller asked for a stream
    done: int = 0  # bytes on disk, while fetching
    total: int = 0
    seconds: float | None = None  # that are left, where anything can be said

    def __str__(self) -> str:
        """For people who wait."""
        share = f" {self.done / self.total:.0%} of {self.total} bytes" if self.total else ""
        eta = "" if self.seconds is None else f", about {self.seconds:.0f} s left"
        return f"{self.stage}{share}{eta}"


@dataclass(frozen=True, slots=True)
class Head:
    """The answer's status and the headers that may be shown. Exactly one an answer."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of the answer, as they arrived; boundaries mean nothing."""

    data: bytes


Part = Progress | Head | Body
