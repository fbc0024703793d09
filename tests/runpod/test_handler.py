"""The handler, called like the SDK calls it, with a scripted service."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import orjson
import pytest

from router.errors import EngineFailed, ModelNotFound
from router.requests.dialects import ANTHROPIC, OPENAI, Problem
from router.requests.request import Progress, Request
from router.runpod.handler import Job, Jobs
from router.runpod.outputs import Output
from tests.fake_service import EVENT, SSE, Answer, FakeService, Head, Piece, fails, hangs, says
from tests.pool.fakes import settle
from tests.requests.harness import serving_fakes


def chat() -> Job:
    return {"id": "job-1", "input": {"messages": []}}


class Desk:
    def __init__(self, answer: Answer) -> None:
        self.service = FakeService(answer)
        self.reported: list[dict[str, object]] = []
        self.jobs = Jobs(self.service, self._report)

    async def _report(self, job: Job, progress: dict[str, object]) -> None:
        await asyncio.sleep(0)
        self.reported.append(progress)

    async def run(self, job: Job | None = None) -> list[Output]:
        async with aclosing(self.jobs.handle(job or chat())) as outputs:
            return [output async for output in outputs]


@asynccontextmanager
async def desk(answer: Answer) -> AsyncIterator[Desk]:
    yield Desk(answer)
    await settle()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, "a task outlived its job"


async def test_an_answer_is_given_once() -> None:
    async with desk(says(b'{"id": 1}')) as d:
        assert await d.run() == [{"id": 1}]
        assert d.service.seen == [Request("/v1/chat/completions", b'{"messages":[]}')]


async def test_a_stream_is_coalesced_while_the_last_chunk_is_being_posted() -> None:
    more = asyncio.Event()

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield SSE
        yield EVENT
        await more.wait()
        for _round in range(5):
            yield EVENT

    async with desk(answer) as d, aclosing(d.jobs.handle(chat())) as outputs:
        assert await anext(outputs) == EVENT.decode()
        more.set()
        await settle()  # the post takes its time
        assert await anext(outputs) == EVENT.decode() * 5


async def test_a_refused_job_fails_with_the_envelope() -> None:
    error = ModelNotFound("there is no such model")
    async with desk(fails(error)) as d:
        assert await d.run() == [{"error": OPENAI.body(Problem.of(error)).decode()}]


async def test_what_is_no_job_fails_with_the_envelope() -> None:
    async with desk(says(b"{}")) as d:
        for content in (None, {}, {"openai_route": 1}):
            (output,) = await d.run({"id": "x", "input": content})
            assert isinstance(output, dict)
            assert orjson.loads(str(output["error"]))["error"]["code"] == "invalid_request"


async def test_a_defect_is_told_without_a_traceback() -> None:
    for broken in (fails(ZeroDivisionError("secret")), fails(KeyError("secret"), SSE)):
        async with desk(broken) as d:
            (output,) = await d.run()
            assert "internal_error" in str(output)
            assert "secret" not in str(output)


async def test_a_stream_that_breaks_off_ends_with_the_error_and_done() -> None:
    error, posted = EngineFailed("it died"), asyncio.Event()

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield SSE
        yield EVENT
        await posted.wait()
        yield Problem.of(error)

    async with desk(answer) as d, aclosing(d.jobs.handle(chat())) as outputs:
        assert await anext(outputs) == EVENT.decode()
        posted.set()
        assert [output async for output in outputs] == [
            OPENAI.events(Problem.of(error), 0).decode()
        ]


async def test_a_stream_that_breaks_off_before_anything_was_posted_fails_the_job() -> None:
    error = EngineFailed("it died")
    async with desk(fails(error, SSE, EVENT)) as d:
        assert await d.run() == [{"error": OPENAI.body(Problem.of(error)).decode()}]


async def test_the_request_is_over_before_its_error_is_yielded() -> None:
    async with (
        desk(fails(EngineFailed("it died"))) as d,
        aclosing(d.jobs.handle(chat())) as out,
    ):
        await anext(out)
        assert d.service.closed.is_set()


async def test_what_a_job_brought_is_not_left_to_who_holds_the_job() -> None:
    job = chat()
    async with desk(says(b"{}")) as d:
        assert await d.run(job) == [{}]
    assert job == {"id": "job-1"}


async def test_progress_of_a_job_is_posted_before_its_answer() -> None:
    waiting = Progress("fetching", done=5, total=10, seconds=7.4, why="fetching")

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield waiting
        yield Head(200, {})
        yield b"{}"

    async with desk(answer) as d:
        assert await d.run() == [{}]
        told = {"stage": "fetching", "bytes_done": 5, "bytes_total": 10, "eta_seconds": 8}
        assert d.reported == [told]


async def test_a_job_that_waits_for_others_is_told_why() -> None:
    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield Progress("queued", seconds=0.2, why="waiting for its turn")
        yield Head(200, {})
        yield b"{}"

    async with desk(answer) as d:
        assert await d.run() == [{}]
        told = {"stage": "queued", "why": "waiting for its turn", "eta_seconds": 1}
        assert d.reported == [told]


async def test_progress_that_is_still_being_posted_is_not_posted_again() -> None:
    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield Progress("starting")
        yield Progress("starting")
        await settle()
        yield Progress("queued")
        yield Head(200, {})
        yield b"{}"

    async with desk(answer) as d:
        assert await d.run() == [{}]
        assert d.reported == [{"stage": "starting"}, {"stage": "queued"}]


async def test_progress_whose_post_hangs_does_not_hold_up_the_answer() -> None:
    given_up = asyncio.Event()

    async def post(_job: Job, _progress: dict[str, object]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        yield Progress("starting")
        await settle()
        yield Head(200, {})
        yield b"{}"

    jobs = Jobs(FakeService(answer), post, patience=0.0)
    async with asyncio.timeout(60.0), aclosing(jobs.handle(chat())) as outputs:
        assert await anext(outputs) == {}
        assert given_up.is_set(), "it could arrive after the result"


async def test_a_refusal_is_told_in_the_routes_dialect() -> None:
    error = ModelNotFound("there is no such model")
    job = {"id": "x", "input": {"openai_route": "/v1/messages", "openai_input": {"a": 1}}}
    async with desk(fails(error)) as d:
        assert await d.run(job) == [{"error": ANTHROPIC.body(Problem.of(error)).decode()}]


@pytest.mark.parametrize("body", ["no object", {"max_tokens": 2**70}])
async def test_a_body_that_can_not_be_read_is_refused_in_the_routes_dialect(
    body: object,
) -> None:
    job = {"id": "x", "input": {"openai_route": "/v1/messages", "openai_input": body}}
    async with desk(says(b"{}")) as d:
        (output,) = await d.run(job)
    assert isinstance(output, dict)
    told = orjson.loads(str(output["error"]))
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")


@pytest.mark.parametrize("route", ["/v1/\ud800", "/v1/" + "a" * 1_000_000, "/../%00"])
async def test_a_route_that_is_no_route_is_refused_and_not_repeated(route: str) -> None:
    async with serving_fakes() as d:
        jobs = Jobs(d.service, lambda _job, _progress: asyncio.sleep(0))
        job = {"id": "x", "input": {"openai_route": route, "openai_input": {}}}
        async with aclosing(jobs.handle(job)) as outputs:
            (output,) = [one async for one in outputs]
    assert isinstance(output, dict)
    told = str(output["error"])
    assert orjson.loads(told)["error"]["code"] == "route_not_found"
    assert len(told) < 1000


async def test_an_engines_refusal_fails_the_job() -> None:
    body = OPENAI.body(Problem(400, "too long", "invalid_request_error"))
    async with desk(says(body, head=Head(400))) as d:
        assert await d.run() == [{"error": body.decode()}]


async def test_a_cancelled_job_ends_its_request() -> None:
    async with desk(hangs(SSE, EVENT)) as d:
        job = asyncio.create_task(d.run())
        await settle()
        job.cancel()
        await asyncio.wait({job})
        assert job.cancelled()
        assert d.service.closed.is_set()


async def test_who_holds_the_task_of_a_cancelled_job_holds_nothing_of_its_request() -> None:
    class Held: ...

    held: list[weakref.ref[Held]] = []

    async def answer(_: Request) -> AsyncGenerator[Piece, None]:
        secret = Held()
        held.append(weakref.ref(secret))
        yield SSE
        await asyncio.Event().wait()

    async with desk(answer) as d:
        job = asyncio.create_task(d.run())
        await settle()
        job.cancel()
        await asyncio.wait({job})
        await settle()
        await d.jobs.closed()
        gc.collect()
        assert job.done()
        assert [ref() for ref in held] == [None]


async def test_a_job_cancelled_while_its_chunk_is_being_posted_ends_its_request_at_once() -> (
    None
):
    suspended: list[AsyncGenerator[Output, None]] = []

    async def post(d: Desk) -> None:
        outputs = d.jobs.handle(chat())
        suspended.append(outputs)  # the SDK leaves it like this: neither closed nor collected
        await anext(outputs)
        await asyncio.Event().wait()

    async with desk(hangs(SSE, EVENT)) as d:
        job = asyncio.create_task(post(d))
        await settle()
        assert not d.service.closed.is_set()
        job.cancel()
        await asyncio.wait({job})
        await settle()
        await d.jobs.closed()
        assert d.service.closed.is_set()
        with pytest.raises(StopAsyncIteration):
            await anext(suspended[0])
