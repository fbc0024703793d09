"""A service with scripted answers, for the tests of the transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from router.errors import ModelNotFound, RouterError
from router.requests.dialects import OPENAI, Problem
from router.requests.interfaces import Health, Sink, send_pieces
from router.requests.model_list import ModelCard
from router.requests.request import Progress, Report, Request

EVENT = b'data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Head:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def streams(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")


SSE = Head(200, {"content-type": "text/event-stream"})

# First any progress, then one head, then the body. A `Problem` is the failure of a stream; an
# exception is any other failure.
Piece = Progress | Head | bytes | Problem
Answer = Callable[[Request], AsyncGenerator[Piece, None]]


class FakeResponse:
    def __init__(self, head: Head, pieces: AsyncGenerator[Piece, None]) -> None:
        self.status, self.headers, self.streams = head.status, head.headers, head.streams
        self.failure: Problem | None = None
        self._pieces = pieces

    async def send(self, sink: Sink) -> None:
        await send_pieces(aiter(self), sink)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            if isinstance(piece, Problem):
                self.failure = piece
                yield OPENAI.events(piece, 0)
            else:
                assert isinstance(piece, bytes)
                yield piece


class FakeService:
    """`began` and `closed` record when a request starts and ends."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.told = answer or says(b"{}")
        self.seen: list[Request] = []
        self.asked: list[tuple[str | None, str | None]] = []
        self.state = Health(ready=True, leaving=False)
        self.began = asyncio.Event()
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def open(
        self, request: Request, report: Report | None = None
    ) -> AsyncIterator[FakeResponse]:
        self.seen.append(request)
        self.began.set()
        try:
            async with aclosing(self.told(request)) as pieces:
                head = await anext(pieces)
                while isinstance(head, Progress):
                    assert report is not None
                    report(head)
                    head = await anext(pieces)
                assert isinstance(head, Head)
                yield FakeResponse(head, pieces)
        finally:
            self.closed.set()

    async def models(self, hf_token: str | None, caller: str = "") -> Sequence[ModelCard]:
        self.asked.append((None, hf_token))
        return [ModelCard("org/name", "org", loaded=True, root="org/name")]

    async def model(self, name: str, hf_token: str | None, caller: str = "") -> ModelCard:
        self.asked.append((name, hf_token))
        if name.startswith("org/"):
            return ModelCard(name, "org", loaded=False, root=name)
        raise ModelNotFound("There is no such model.")

    def health(self) -> Health:
        return self.state


def says(*data: bytes, head: Head | None = None) -> Answer:
    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        length = str(sum(map(len, data)))
        yield head or Head(200, {"content-type": "application/json", "content-length": length})
        for part in data:
            yield part

    return answer


def fails(error: Exception, *pieces: Piece) -> Answer:
    """Fail after these pieces: a stream reports the error, any other answer raises it."""

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        for piece in pieces:
            yield piece
        if SSE in pieces and isinstance(error, RouterError):
            yield Problem.of(error)
        else:
            raise error

    return answer


def hangs(*pieces: Piece) -> Answer:
    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        for piece in pieces:
            yield piece
        await asyncio.Event().wait()

    return answer
