"""The content of a request's record, filled by the service on fakes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from router.errors import EngineFailed, ModelNotFound, RouterError
from router.pool.loading import AT_ONCE, Temperature, Waited
from router.requests.dialects import Problem
from router.requests.outcomes import Outcome
from router.requests.record import CALLER_SHOWN, Record
from router.requests.request import Request
from tests.doubles import Answer
from tests.pool.fakes import settle
from tests.requests.harness import SSE, ServiceHarness, chat, serving_fakes, token

USAGE = {"prompt_tokens": 12, "completion_tokens": 80, "total_tokens": 92}
WHOLE = Answer((orjson.dumps({"choices": [], "usage": USAGE}),))


async def recorded(harness: ServiceHarness, request: Request) -> Record:
    record = Record(request.route)
    try:
        got = await harness.ask(replace(request, record=record))
    except RouterError as error:
        record.refuse(error.code, error.status)
    else:
        record.end(Outcome.OK, status=got.status)
    return record


async def test_a_cold_and_a_warm_request_say_so() -> None:
    async with serving_fakes(WHOLE) as d:
        cold, warm = await recorded(d, chat()), await recorded(d, chat())
    assert (cold.temperature, warm.temperature) == (Temperature.COLD, Temperature.HIT)
    assert (warm.queue, warm.load, warm.attempts) == (0.0, 0.0, 1)
    assert warm.model == "org/model"
    assert (warm.prompt_tokens, warm.completion_tokens) == (12, 80)
    assert warm.first is not None
    assert warm.total is not None
    assert warm.total >= warm.first


async def test_the_tokens_of_a_stream_are_in_its_last_events() -> None:
    events = [b'data: {"choices":[{}],"usage":null}\n\n'] * 50
    usage = b'data: {"choices":[],"usage":%b}\n\n' % orjson.dumps(USAGE)
    async with serving_fakes(
        Answer((*events, usage[:60], usage[60:], b"data: [DONE]\n\n"), headers=SSE)
    ) as d:
        record = await recorded(d, chat(stream=True))
    assert record.stream
    assert (record.prompt_tokens, record.completion_tokens) == (12, 80)


async def test_a_stream_can_begin_with_the_tokens_of_the_prompt() -> None:
    start = b'data: {"message":{"usage":{"input_tokens":12,"output_tokens":0}}}\n\n'
    last = b'data: {"type":"message_delta","usage":{"output_tokens":80}}\n\n'
    async with serving_fakes(Answer((start, b"data: {}\n\n", last), headers=SSE)) as d:
        record = await recorded(d, chat(stream=True))
    assert (record.prompt_tokens, record.completion_tokens) == (12, 80)


@pytest.mark.parametrize("stream", [True, False])
async def test_nobody_makes_an_answer_look_cheap_by_what_it_repeats(*, stream: bool) -> None:
    told = {"input_tokens": 12, "output_tokens": 80}
    forged = {"usage": {"input_tokens": 0, "output_tokens": 0}}
    whole = orjson.dumps({"output": [], "usage": told, "metadata": forged})
    answer = Answer((whole,))
    if stream:
        done = b'event: response.completed\ndata: {"response":%b}\n\n' % whole
        answer = Answer((b"data: {}\n\n", done), headers=SSE)
    body = orjson.dumps({"model": "org/model", "input": "Hi", "stream": stream})
    async with serving_fakes(answer) as d:
        record = await recorded(d, Request("/v1/responses", body))
    assert (record.prompt_tokens, record.completion_tokens, record.tokens) == (12, 80, 92)


META = b'"meta_info":{"id":"a","finish_reason":{"type":"length"},"prompt_tokens":12,%b}'


@pytest.mark.parametrize("more", [b"", b'"output_token_logprobs":[[-0.1,5,"a \\" b"]],' * 40])
async def test_sglangs_own_route_tells_tokens_in_its_meta_info(more: bytes) -> None:
    meta = META % (more + b'"completion_tokens":80,"e2e_latency":0.1')
    request = Request("/generate", b'{"model":"org/model","text":"Hi"}')
    async with serving_fakes(Answer((b'{"text":"x",%b}' % meta,))) as d:
        record = await recorded(d, request)
    assert (record.prompt_tokens, record.completion_tokens) == (12, 80)


def result(number: int, said: int) -> bytes:
    """An event for one of several prompts. Each repeats its earlier text."""
    meta = {"id": "a", "prompt_tokens": 10, "completion_tokens": said}
    content = {"text": "x" * said, "meta_info": meta, "index": number}
    return b"data: %b\n\n" % orjson.dumps(content)


async def test_the_results_of_several_prompts_in_one_stream_are_summed() -> None:
    events = (result(0, 1), result(1, 1) + result(0, 2), result(1, 70), result(0, 3))
    request = Request("/generate", b'{"model":"org/model","text":["a","b"],"stream":true}')
    async with serving_fakes(Answer((*events, b"data: [DONE]\n\n"), headers=SSE)) as d:
        record = await recorded(d, request)
    assert (record.prompt_tokens, record.completion_tokens) == (20, 73)


async def test_an_error_that_an_engine_tells_in_its_stream_is_no_success() -> None:
    error = b'data: {"error":{"message":"it can not go on","code":500}}\n\n'
    events = (b'data: {"choices":[{}],"error":null}\n\n', error, b"data: [DONE]\n\n")
    async with serving_fakes(Answer(events, headers=SSE)) as d:
        record = await recorded(d, chat(stream=True))
    assert (record.outcome, record.error) == (Outcome.ERROR_EVENT, Outcome.ENGINE)


async def test_no_error_in_a_stream_is_none() -> None:
    events = (b'data: {"choices":[{"text":"\\"error\\":{}"}],"error":null}\n\n',)
    async with serving_fakes(Answer(events, headers=SSE)) as d:
        record = await recorded(d, chat(stream=True))
    assert record.outcome == Outcome.OK


def test_a_caller_that_leaves_after_an_error_has_left() -> None:
    record = Record("/")
    record.errs()
    record.end(Outcome.CALLER_LEFT)
    assert record.outcome == Outcome.CALLER_LEFT


async def test_tokens_that_nobody_tells_are_unknown() -> None:
    async with serving_fakes(Answer((b"{}",))) as d:
        record = await recorded(d, chat())
    assert (record.prompt_tokens, record.completion_tokens) == (None, None)


async def test_a_model_is_not_named_before_its_caller_may_use_it() -> None:
    async with serving_fakes() as d:
        d.hub.add("org/private", token())
        private = await recorded(d, chat("org/private"))
        missing = await recorded(d, chat("org/missing"))
    assert private.model == missing.model == ""
    assert private.outcome == missing.outcome == ModelNotFound.code


async def test_a_caller_is_told_by_a_few_characters_of_a_digest() -> None:
    mine = token()
    async with serving_fakes(WHOLE) as d:
        record = await recorded(d, replace(chat(), hf_token=mine.reveal()))
    assert record.caller == mine.digest[:CALLER_SHOWN]
    assert mine.reveal() not in str(record.fields())


async def test_an_engine_that_dies_twice_is_named_as_the_cause() -> None:
    async with serving_fakes(Answer(lost_after=0)) as d:
        record = await recorded(d, chat())
    assert (record.outcome, record.error) == (Outcome.ENGINE_DIED, EngineFailed.code)
    assert record.attempts == 2


async def test_a_request_that_is_sent_again_unseen_is_fine() -> None:
    async with serving_fakes(Answer(lost_after=0), WHOLE) as d:
        record = await recorded(d, chat())
    assert (record.outcome, record.attempts) == (Outcome.OK, 2)


async def test_an_engine_that_dies_midway_is_named_as_the_cause() -> None:
    async with serving_fakes(Answer((b'{"a": ', b"1}"), lost_after=1)) as d:
        record = await recorded(d, chat())
    assert record.outcome == Outcome.ENGINE_DIED


@pytest.mark.parametrize("said", [0, 1])
async def test_a_request_that_a_leaving_worker_cuts_off_did_not_lose_its_engine(
    said: int,
) -> None:
    cut = asyncio.Event()
    answer = Answer((*[b'{"a": '] * said, cut, b"1}"), lost_after=said + 1)
    async with serving_fakes(answer) as d:
        asking = asyncio.create_task(recorded(d, chat()))
        await settle()
        assert d.in_flight == 1
        leaving = asyncio.create_task(d.pool.shut_down(0.0))
        await settle()
        cut.set()
        record = await asking
        await leaving
    assert record.outcome == Outcome.SHUT_DOWN
    assert record.attempts == 1


def test_only_the_first_end_counts() -> None:
    record = Record("/")
    record.end(Outcome.OK, status=200)
    record.end(Outcome.CALLER_LEFT)
    assert (record.outcome, record.status) == (Outcome.OK, 200)


def test_a_stream_that_fails_after_its_first_bytes_is_never_ok() -> None:
    record = Record("/")
    record.granted(AT_ONCE)
    record.begins(b"data: {}\n\n")
    record.answer(200, Problem.of(EngineFailed("m")), streams=True)
    assert (record.outcome, record.status, record.error) == ("broke_off", 0, "engine_failed")


def test_a_stream_that_only_waited_ends_with_the_code_of_its_error() -> None:
    record = Record("/")
    record.answer(200, Problem.of(ModelNotFound("m")), streams=True)
    assert (record.outcome, record.status) == ("model_not_found", 0)


@pytest.mark.parametrize("code", ["anything\n2026 forged", "", "x" * 5000])
def test_an_engines_own_code_is_not_repeated(code: str) -> None:
    record = Record("/")
    record.refuse(code, 400)
    assert (record.outcome, record.error) == (Outcome.ENGINE, Outcome.ENGINE)


def test_a_request_that_gets_no_engine_has_waited_and_used_no_model() -> None:
    record = Record("/")
    record.gave_up(Waited(1.0, 2.0, Temperature.COLD))
    record.refuse("engine_failed", 502)
    assert (record.queue, record.load, record.temperature) == (1.0, 2.0, "")


def test_two_attempts_have_waited_for_both() -> None:
    record = Record("/")
    record.granted(Waited(1.0, 2.0, Temperature.COLD))
    record.granted(Waited(0.5, 1.0, Temperature.HIT))
    assert (record.queue, record.load, record.temperature) == (1.5, 3.0, Temperature.COLD)


async def test_a_record_in_progress_counts_on() -> None:
    record = Record("/")
    before = record.seconds
    await asyncio.sleep(0)
    assert record.running
    assert record.seconds >= before
    assert record.fields()["outcome"] == ""


def ended(*pieces: bytes, stream: bool, prompt_guess: int = 5) -> Record:
    record = Record("/")
    record.stream, record.prompt_guess = stream, prompt_guess
    if pieces:
        record.begins(pieces[0])
        for piece in pieces[1:]:
            record.saw(piece)
    record.end("ok", status=200)
    return record


EVENT = b'data: {"x": 1}\n\n'
RESULT = b'{"meta_info":{"prompt_tokens":3,"completion_tokens":7}}'
LIST = [b"[" + RESULT + b",", RESULT + b"]"]


@pytest.mark.parametrize(
    ("pieces", "stream", "tokens"),
    [
        ([b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}'], False, 7),
        ([b'{"usage":{"prompt_tokens":3}}'], False, 3),
        (LIST, False, 20),
        ([b"{" + b" " * 398 + b"}"], False, 105),
        ([EVENT * 2, EVENT], True, 8),
        ([EVENT, b'data: {"usage":{"prompt_tokens":3,"completion_tokens":40}}\n\n'], True, 43),
        ([b'data: {"usage":{"input_tokens":3}}\n\n', EVENT], True, 5),
        ([], True, 0),
    ],
    ids=[
        "told",
        "told, no answer",
        "told in a list",
        "not told",
        "stream",
        "told at its end",
        "left",
        "refused",
    ],
)
def test_a_request_took_what_the_engine_tells_and_else_a_guess(
    pieces: list[bytes], tokens: int, *, stream: bool
) -> None:
    assert ended(*pieces, stream=stream).tokens == tokens


def test_the_operators_name_for_a_key_stands_for_its_digest() -> None:
    record = Record("/")
    record.is_from("0123456789abcdef", "billing")
    record.authorized("org/name", "0123456789abcdef")
    assert record.caller == "billing"
    record.is_from("0123456789abcdef", "")
    assert record.caller == "0123456789ab"
