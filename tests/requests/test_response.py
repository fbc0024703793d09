"""What a stream's caller receives, and when, whatever its engine does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from router.errors import EngineFailed, ModelNotFound
from router.requests.interfaces import Response
from router.requests.request import Request
from tests.doubles import Answer
from tests.eventually import eventually
from tests.pool.fakes import settle
from tests.requests.harness import SSE, LoopClock, chat, serving_fakes

SILENCE = 0.02  # seconds
ONE, TWO = b'data: {"n": 1}\n\n', b'data: {"n": 2}\n\n'
DONE = b"data: [DONE]\n\n"

ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/generate",
)


def stream(route: str = "/v1/chat/completions") -> Request:
    return chat(route=route, stream=True)


def is_comment(piece: bytes) -> bool:
    return piece.startswith(b": ") and piece.endswith(b"\n\n") and piece.count(b"\n") == 2


async def next_event(pieces: AsyncIterator[bytes]) -> bytes:
    async for piece in pieces:
        if not is_comment(piece):
            return piece
    raise AssertionError("the stream ended")


class Written:
    """A sink for tests. `enough`: pieces until it pauses; `gone`: it fails."""

    def __init__(self, *, enough: int = 1000, gone: Exception | None = None) -> None:
        self.pieces: list[bytes] = []
        self._enough, self._gone = enough, gone
        self._drained = asyncio.Event()

    def write(self, data: bytes) -> bool:
        self.pieces.append(data)
        if self._gone is not None:
            raise self._gone
        return len(self.pieces) < self._enough or self._drained.is_set()

    async def drained(self) -> None:
        await self._drained.wait()

    def drain(self) -> None:
        self._drained.set()


async def rest(response: Response) -> tuple[int, bytes]:
    """The number of comments, and everything else."""
    sink = Written()
    await response.send(sink)
    pieces = sink.pieces
    others = [piece for piece in pieces if not is_comment(piece)]
    return len(pieces) - len(others), b"".join(others)


def error_in(route: str, events: bytes) -> str:
    """The message in the last events of a stream, in the route's form."""
    if route in ("/v1/messages", "/v1/responses"):
        head, data, *others = events.split(b"\n")
        assert head == b"event: error"
        assert others == [b"", b""], "nothing follows the error"
    else:
        data, _, end = events.partition(b"\n\n")
        assert end == DONE
    content = orjson.loads(data.removeprefix(b"data: "))
    error = content["error"]
    if route == "/v1/messages":
        assert content == {"type": "error", "error": error}
        assert error.keys() == {"type", "message"}
    elif route == "/v1/responses":
        assert content.keys() == {"type", "sequence_number", "error"}
        assert error.keys() == {"type", "code", "message", "param"}
        assert isinstance(error["code"], str)
    else:
        assert error.keys() >= {"message", "type", "param", "code"}
    return str(error["message"])


# Comments


async def test_a_loaded_engine_that_thinks_is_waited_for_in_comments() -> None:
    thinks = asyncio.Event()
    answer = Answer((ONE, DONE), headers=SSE, thinks=thinks)
    async with (
        serving_fakes(answer, silence=SILENCE) as d,
        d.service.open(stream()) as response,
    ):
        assert response.status == 200
        pieces = aiter(response)
        while await anext(pieces) != b": generating\n\n":
            pass  # on a busy machine, a comment is sent before it
        assert await anext(pieces) == b": generating\n\n"
        thinks.set()
        assert await next_event(pieces) == ONE
        assert (await rest(response))[1] == DONE


async def test_an_engine_that_is_silent_in_mid_stream_is_waited_for_in_comments() -> None:
    more = asyncio.Event()
    answer = Answer((ONE, more, TWO), headers=SSE)
    async with (
        serving_fakes(answer, silence=SILENCE) as d,
        d.service.open(stream()) as response,
    ):
        pieces = aiter(response)
        assert await next_event(pieces) == ONE
        assert is_comment(await anext(pieces))
        assert is_comment(await anext(pieces))
        more.set()
        assert await next_event(pieces) == TWO


async def test_a_comment_never_lands_inside_of_an_event() -> None:
    more = asyncio.Event()
    answer = Answer((ONE + TWO[:9], more, TWO[9:]), headers=SSE)
    async with (
        serving_fakes(answer, silence=SILENCE) as d,
        d.service.open(stream()) as response,
    ):
        pieces = aiter(response)
        assert await next_event(pieces) == ONE
        assert is_comment(await anext(pieces))
        more.set()
        assert await next_event(pieces) == TWO


async def test_a_stream_that_is_sent_is_the_one_that_is_iterated() -> None:
    more = [asyncio.Event() for _ in range(3)]
    answer = Answer((ONE + TWO[:9], more[0], TWO[9:], more[1], ONE, more[2], DONE), headers=SSE)
    async with (
        serving_fakes(answer, silence=SILENCE) as d,
        d.service.open(stream()) as response,
    ):
        sink = Written()
        sending = asyncio.create_task(response.send(sink))
        for event in more:
            seen = len(sink.pieces)
            await eventually(lambda seen=seen: len(sink.pieces) > seen + 2)  # type: ignore[misc]
            event.set()
        await sending
    events = [piece for piece in sink.pieces if not is_comment(piece)]
    assert events == [ONE, TWO, ONE, DONE]


async def test_a_sink_that_has_enough_is_waited_for() -> None:
    answer = Answer((ONE,) * 20, headers=SSE)
    async with serving_fakes(answer) as d, d.service.open(stream()) as response:
        sink = Written(enough=5)
        sending = asyncio.create_task(response.send(sink))
        await settle()
        assert len(sink.pieces) == 5
        sink.drain()
        await sending
        assert b"".join(sink.pieces) == ONE * 20


@pytest.mark.parametrize("pieces", [(ONE,), (ONE, ONE, ONE)])
async def test_a_sink_that_is_gone_ends_the_sending(pieces: tuple[bytes, ...]) -> None:
    async with (
        serving_fakes(Answer(pieces, headers=SSE)) as d,
        d.service.open(stream()) as response,
    ):
        sink = Written(gone=ConnectionResetError("the caller left"))
        with pytest.raises(ConnectionResetError):
            await response.send(sink)
        assert sink.pieces == [ONE]
        assert response.failure is None


async def test_an_event_without_an_end_is_told_to_whom_it_is_sent() -> None:
    endless = (ONE, b"data: " + bytes(17 << 20), ONE)
    async with (
        serving_fakes(Answer(endless, headers=SSE)) as d,
        d.service.open(stream()) as response,
    ):
        told = (await rest(response))[1]
        assert error_in("/v1/chat/completions", told.removeprefix(ONE))
        assert response.failure is not None


async def test_comments_tell_what_a_cold_model_waits_for() -> None:
    async with serving_fakes(silence=SILENCE) as d:
        d.downloader.instant = False
        async with d.service.open(stream()) as response:
            pieces = aiter(response)
            assert await anext(pieces) == b": fetching 50% of 2 bytes\n\n"
            d.downloader.finish("model")


async def test_a_fast_refusal_keeps_its_status() -> None:
    async with serving_fakes(Answer((b'{"message": "no"}',), status=400)) as d:
        got = await d.ask(stream())
        assert got.status == 400
        assert orjson.loads(got.body)["error"]["message"] == "no"
        with pytest.raises(ModelNotFound):
            await d.ask(chat("org/missing", stream=True))


async def test_a_caller_without_a_stream_gets_no_comments() -> None:
    thinks = asyncio.Event()
    async with serving_fakes(Answer((b"{}",), thinks=thinks), silence=0.0) as d:
        asking = asyncio.create_task(d.ask(chat()))
        await settle()
        thinks.set()
        assert (await asking).body == b"{}"


@pytest.mark.parametrize("route", ["/v1/messages/count_tokens", "/v1/tokenize"])
async def test_stream_means_nothing_where_nothing_streams(route: str) -> None:
    thinks = asyncio.Event()
    async with serving_fakes(Answer((b"{}",), thinks=thinks), silence=0.0) as d:
        asking = asyncio.create_task(d.ask(stream(route)))
        await settle()
        thinks.set()
        got = await asking
        assert (got.body, got.headers) == (b"{}", {})


async def test_a_stream_tells_proxies_to_pass_it_on_at_once() -> None:
    async with serving_fakes(Answer((ONE,), headers=SSE)) as d:
        headers = (await d.ask(stream())).headers
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "no-cache"
    assert headers["content-type"].startswith("text/event-stream")


# Failures


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("sent", [ONE, ONE + TWO[:-1], ONE + TWO[:9]])
async def test_an_engine_that_dies_in_mid_stream_is_told_in_the_routes_dialect(
    route: str, sent: bytes
) -> None:
    async with serving_fakes(Answer((sent,), headers=SSE, lost_after=1)) as d:
        async with d.service.open(stream(route)) as response:
            _, told = await rest(response)
            assert response.failure is not None
            assert response.failure.code == "engine_failed"
        assert told.startswith(ONE)
        assert "stopped in the middle" in error_in(route, told.removeprefix(ONE))


@pytest.mark.parametrize("route", ROUTES)
async def test_a_start_that_fails_after_a_comment_is_told_in_the_stream(route: str) -> None:
    async with serving_fakes(silence=SILENCE) as d:
        d.launcher.instant = False
        async with d.service.open(stream(route)) as response:
            assert is_comment(await anext(aiter(response)))
            d.launcher.fail("model")
            _, told = await rest(response)
        assert "did not start" in error_in(route, told)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_deadline_that_strikes_after_a_comment_is_told_in_the_stream(
    route: str,
) -> None:
    clock = LoopClock()
    answer = Answer((ONE,), headers=SSE, hangs=True)
    async with (
        serving_fakes(answer, silence=SILENCE, REQUEST_TIMEOUT="30") as d,
        d.service.open(stream(route)) as response,
    ):
        pieces = aiter(response)
        while not is_comment(await anext(pieces)):
            pass
        clock.ahead = 30.0
        _, told = await rest(response)
        assert "REQUEST_TIMEOUT" in error_in(route, told.removeprefix(ONE))


@pytest.mark.parametrize("route", ROUTES)
async def test_an_engines_refusal_after_a_comment_is_told_in_the_stream(route: str) -> None:
    thinks = asyncio.Event()
    answer = Answer((b'{"message": "bad /secret/place/x"}',), status=400, thinks=thinks)
    async with (
        serving_fakes(answer, silence=SILENCE) as d,
        d.service.open(stream(route)) as response,
    ):
        assert is_comment(await anext(aiter(response)))
        thinks.set()
        _, told = await rest(response)
        assert error_in(route, told) == "bad <path>"


async def test_the_unseen_retry_still_works_after_a_comment() -> None:
    thinks = asyncio.Event()
    dies = Answer((), headers=SSE, thinks=thinks, lost_after=0)
    async with serving_fakes(dies, Answer((ONE,), headers=SSE), silence=SILENCE) as d:
        async with d.service.open(stream()) as response:
            assert is_comment(await anext(aiter(response)))
            thinks.set()
            assert (await rest(response))[1] == ONE
            assert response.failure is None
        assert len(d.upstream.sent) == 2


async def test_an_engine_that_does_not_stream_after_a_comment_is_a_failure() -> None:
    thinks = asyncio.Event()
    async with (
        serving_fakes(Answer((b"{}",), thinks=thinks), silence=SILENCE) as d,
        d.service.open(stream()) as response,
    ):
        assert is_comment(await anext(aiter(response)))
        thinks.set()
        assert "did not stream" in error_in("", (await rest(response))[1])


async def test_an_error_of_a_response_continues_its_sequence_numbers() -> None:
    event = b'event: response.created\ndata: {"type": "x", "sequence_number": 6}\n\n'
    async with (
        serving_fakes(Answer((event,), headers=SSE, lost_after=1)) as d,
        d.service.open(stream("/v1/responses")) as response,
    ):
        _, told = await rest(response)
        last = orjson.loads(told.removeprefix(event).split(b"data: ")[1])
        assert last["sequence_number"] == 7


async def test_an_answer_that_is_no_stream_raises_where_it_breaks_off() -> None:
    async with serving_fakes(Answer((b'{"a"',), lost_after=1)) as d:
        with pytest.raises(EngineFailed):
            await d.ask(chat())


@pytest.mark.parametrize(("given", "told"), [(None, "1"), ("7", "7"), ("soon", "1")])
@pytest.mark.parametrize("status", [429, 503])
async def test_an_engine_that_wants_patience_says_how_much(
    status: int, given: str | None, told: str
) -> None:
    headers = {} if given is None else {"retry-after": given}
    async with serving_fakes(Answer((b"{}",), status=status, headers=headers)) as d:
        got = await d.ask(chat())
        assert (got.status, got.headers["Retry-After"]) == (status, told)


# Callers that leave


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("silence", [0.0, 10.0])
@pytest.mark.parametrize("at", ["authorizing", "fetching", "starting", "thinking", "reading"])
async def test_a_caller_that_leaves_frees_everything_at_every_point(
    at: str, silence: float, streams: bool
) -> None:
    """`serving_fakes` checks that no lease and no exchange is left."""
    thinks = asyncio.Event()
    if at != "thinking":
        thinks.set()
    answer = Answer((ONE,), headers=SSE, thinks=thinks, hangs=True)
    async with serving_fakes(answer, silence=silence) as d:
        d.downloader.instant = at != "fetching"
        d.launcher.instant = at != "starting"
        if at == "authorizing":
            d.hub.hangs = True

        async def read() -> None:
            await d.ask(chat(stream=streams))

        asking = asyncio.create_task(read())
        await settle()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await settle()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "reach" in repr(task)]
