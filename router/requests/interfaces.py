"""What the request path asks of the way to an engine, and what it offers to a transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from router.requests.dialects import Problem
from router.requests.model_list import ModelCard
from router.requests.request import Progress, Report, Request
from router.requests.trace_context import Trace
from router.secrets import Secret
from router.side_process import Body


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """What is posted to an engine. No header of the caller's goes with it, but its trace."""

    url: str
    key: Secret  # the engine's own
    body: Body  # JSON
    trace: Trace | None = None


class UpstreamLost(Exception):
    """The connection to the engine failed or broke off; the engine may be dead.

    `reached`: whether the engine may have seen the request.
    """

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class UpstreamResponse(Protocol):
    """An engine's answer: the head is here, the body arrives as it is generated."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Those that may be shown to the caller, by their lower-case names."""
        ...

    async def read(self) -> bytes:
        """Return the bytes that have arrived; empty at the end. Raises `UpstreamLost`.

        A call that is cancelled loses no byte.
        """
        ...

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Give bytes to `sink` as they arrive, in no task: that is the cheapest.

        Returns False once `sink` has said by False that it takes no more, and True at the
        end. Raises `UpstreamLost`, and what `sink` raises. Loses no byte either.
        """
        ...


class Upstream(Protocol):
    """The way to an engine."""

    def open(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send, and give the answer's head. Leaving the block ends the exchange: what
        is still being generated is cancelled upstream. Raises `UpstreamLost`."""
        ...


class Source(Protocol):
    """Where a response comes from: an engine, or another worker that has one.

    Call `reach` once, then `read` until it is empty, and `close` in any case.
    """

    @property
    def first(self) -> bytes:
        """The first bytes of the body. Only after `reach`."""
        ...

    @property
    def problem(self) -> Problem | None:
        """A refusal in place of a body. Only after `reach`."""
        ...

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def streams(self) -> bool:
        """Whether the answer is an event stream. Only after `reach`."""
        ...

    async def reach(self) -> None:
        """Return once there are first bytes, or a problem. Raises `RouterError`."""
        ...

    async def read(self) -> bytes:
        """More of the body; empty at its end. Raises `RouterError` where it breaks off."""
        ...

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Give more of the body to `sink` as it arrives; False once that takes no more.

        True: `read` tells what is next. Raises what `sink` raises.
        """
        ...

    async def close(self) -> None: ...

    def progress(self) -> Progress:
        """What the request waits for."""
        ...


class Sink(Protocol):
    """Where an answer goes."""

    def write(self, data: bytes) -> bool:
        """False: it has enough, wait until it has `drained`. Raises `ConnectionError` where
        the caller left."""
        ...

    async def drained(self) -> None: ...


class Response(Protocol):
    """An answer. It is valid inside of `async with service.open(...)`, which cleans up.

    Iterating gives the body as it arrives. An event stream (`streams`) comes in whole
    events; a failure is its last event, and then stands in `failure`. Any other body
    raises `RouterError` where it breaks off.
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def streams(self) -> bool: ...

    @property
    def failure(self) -> Problem | None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def send(self, sink: Sink) -> None:
        """Give all of the body to `sink`: what iterating does, for less."""
        ...


async def pour_read(
    read: Callable[[], Awaitable[bytes]], sink: Callable[[bytes], bool]
) -> bool:
    """How a source is poured that can only be read."""
    while data := await read():
        if not sink(data):
            return False
    return True


async def send_pieces(pieces: AsyncIterator[bytes], sink: Sink) -> None:
    """How a response that is iterated is sent."""
    async for data in pieces:
        if not sink.write(data):
            await sink.drained()


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: the default model is up, or has failed for good. `leaving`: draining."""

    ready: bool
    leaving: bool


class Backend(Protocol):
    """What a transport needs of the service."""

    def open(
        self, request: Request, report: Report | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Answer one request. Leaving the block ends it and frees what it held.

        `report` hears of progress every few seconds while an answer that is no stream
        waits for its engine. Raises `RouterError` before there is a response.
        """
        ...

    async def models(self, hf_token: str | None, caller: str = "") -> Sequence[ModelCard]:
        """The models that this caller may use. `caller`: as in `Request`."""
        ...

    async def model(self, name: str, hf_token: str | None, caller: str = "") -> ModelCard:
        """Raises `AccessError`, the same for a private model and for a missing one."""
        ...

    def health(self) -> Health: ...
