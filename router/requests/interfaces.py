"""The interfaces between the request path, the engines and the transports."""

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
    """A request to an engine. It carries no header of the caller, except for the trace."""

    url: str
    key: Secret  # the engine's own key
    body: Body  # JSON
    trace: Trace | None = None


class UpstreamLost(Exception):
    """The connection to the engine failed or broke off. The engine may be dead.

    `reached`: whether the engine may have seen the request.
    """

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class UpstreamResponse(Protocol):
    """An engine's answer. The head has arrived, and the body arrives as it is generated."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the caller may see, by their lower-case names."""
        ...

    async def read(self) -> bytes:
        """Return the bytes that have arrived; b"" at the end. Raises `UpstreamLost`.

        A canceled call loses no bytes.
        """
        ...

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Call `sink` with bytes as they arrive. That is cheap, because it needs no task.

        Returns False after `sink` has returned False, which means that it takes no more, and
        True at the end. Raises `UpstreamLost`, and what `sink` raises. A canceled call loses no
        bytes.
        """
        ...


class Upstream(Protocol):
    """The connection to an engine."""

    def open(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send a request, and return the answer when its head has arrived. Leaving the block
        ends the exchange and cancels a running generation. Raises `UpstreamLost`."""
        ...


class Source(Protocol):
    """The source of a response: an engine, or another worker that has one.

    Call `reach` once, then `read` until it returns b"", and always `close`.
    """

    @property
    def first(self) -> bytes:
        """The first bytes of the body. Call `reach` first."""
        ...

    @property
    def problem(self) -> Problem | None:
        """A refusal in place of a body. Call `reach` first."""
        ...

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def streams(self) -> bool:
        """Whether the answer is an event stream. Call `reach` first."""
        ...

    async def reach(self) -> None:
        """Return when there are first bytes or a problem. Raises `RouterError`."""
        ...

    async def read(self) -> bytes:
        """Return more of the body; b"" at its end. Raises `RouterError` if it breaks off."""
        ...

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Pass the body to `sink` as it arrives. Return False when `sink` takes no more.

        Returns True if `read` must be called next. Raises what `sink` raises.
        """
        ...

    async def close(self) -> None: ...

    def progress(self) -> Progress:
        """What the request is waiting for."""
        ...


class Sink(Protocol):
    """The destination of an answer."""

    def write(self, data: bytes) -> bool:
        """Return False if the caller must first read more (see `drained`). Raises
        `ConnectionError` if the caller left."""
        ...

    async def drained(self) -> None: ...


class Response(Protocol):
    """An answer. Use it inside of `async with service.open(...)`, which cleans up.

    Iterating returns the body as it arrives. An event stream (`streams`) consists of whole
    events; a failure is its last event, and is then in `failure`. Any other body raises
    `RouterError` if it breaks off.
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
        """Send the whole body to `sink`. This is cheaper than iterating."""
        ...


async def pour_read(
    read: Callable[[], Awaitable[bytes]], sink: Callable[[bytes], bool]
) -> bool:
    """Implement `pour` for a source that can only be read."""
    while data := await read():
        if not sink(data):
            return False
    return True


async def send_pieces(pieces: AsyncIterator[bytes], sink: Sink) -> None:
    """Implement `send` for a response that is iterated."""
    async for data in pieces:
        if not sink.write(data):
            await sink.drained()


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: the default model is up, or failed for good. `leaving`: the worker drains."""

    ready: bool
    leaving: bool


class Backend(Protocol):
    """The interface of the service for transports."""

    def open(
        self, request: Request, report: Report | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Answer one request. Leaving the block ends it and frees what it held.

        While an answer that is not a stream waits for its engine, `report` is called every few
        seconds. Raises `RouterError` before there is a response.
        """
        ...

    async def models(self, hf_token: str | None, caller: str = "") -> Sequence[ModelCard]:
        """The models that this caller may use. `caller` is as in `Request`."""
        ...

    async def model(self, name: str, hf_token: str | None, caller: str = "") -> ModelCard:
        """Raises `AccessError`, the same one for a private model and for a missing one."""
        ...

    def health(self) -> Health: ...
