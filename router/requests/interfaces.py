"""What the request path asks of the way to an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is sent to an engine. `headers` are already on the allow-list."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class UpstreamLost(Exception):
    """The connection to the engine failed or broke off; the engine may be dead."""


class UpstreamResponse(Protocol):
    """An engine's answer: the head is here, the body arrives as it is generated."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Those that may be shown to the caller."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive. Raises `UpstreamLost` if they break off."""
        ...


class Relay(Protocol):
    """The way to an engine."""

    def open(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send, and give the answer's head. Leaving the block ends the exchange: what
        is still being generated is cancelled upstream. Raises `UpstreamLost`."""
        ...
