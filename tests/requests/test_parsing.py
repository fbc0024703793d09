"""When and where each caller's body is parsed."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from router.errors import DeadlineExceeded, InternalError, InvalidRequest, QueueFull
from router.requests.call import Call, parse
from router.requests.parse_time import parse_time
from router.requests.parsing import Parser, Turns
from router.requests.request import Request
from router.requests.routes import ROUTES
from router.side_process import Body, SideProcessDied, size
from tests.doubles import FakeAside, whole

CHAT = ROUTES["/v1/chat/completions"]
MIB = 1 << 20
NO_HOSTS: frozenset[str] = frozenset()


def chat(text: str, **fields: object) -> bytes:
    messages = [{"role": "user", "content": text}]
    return orjson.dumps({"model": "org/model", "messages": messages, **fields})


def parser(aside: FakeAside, largest: int = 32 * MIB) -> Parser:
    return Parser(aside, NO_HOSTS, largest)


def request(body: Body, caller: str = "") -> Request:
    return Request(CHAT.path, body, None, caller)


LONG = chat("x" * 2 * MIB, hf_token="hf_x")


@pytest.mark.parametrize(
    ("body", "aside"),
    [
        (chat("Tell me, please. " * 6000), False),
        (chat("\n" * 400_000), False),
        (chat("x" * MIB), True),
        (chat("," * 50_000), True),
        (b'{"a":[' + b"[]," * 8000 + b"0]}", True),
        (b'{"a":[' + b"0," * 15_000 + b"0]}", True),
        ((b'{"a"', b":1}"), True),
    ],
    ids=["text", "escapes", "long", "commas", "lists", "numbers", "pieces"],
)
async def test_what_takes_long_is_parsed_aside(body: Body, aside: bool) -> None:
    fake = FakeAside()
    call = await parser(fake).parse(request(body), CHAT, 10.0)
    assert bool(fake.done) is aside
    assert whole(call.upstream_body("m", "s")) == whole(
        parse(whole(body), CHAT).upstream_body("m", "s")
    )


LITERAL = "a" * 4000
WRITTEN = orjson.dumps({"pattern": LITERAL}).decode()
HIDDEN = chat("x", regex=LITERAL).replace(b'"regex"', rb'"\u0072egex"')
HIDDEN_IN_TEXT = chat("x", json_schema=WRITTEN.replace("pattern", r"\u0070attern"))


def schema(**fields: object) -> bytes:
    return chat("x", response_format={"json_schema": {"schema": fields}})


@pytest.mark.parametrize(
    ("body", "aside"),
    [
        (chat("x", regex=LITERAL), True),
        (chat("x", ebnf=f'root ::= "{LITERAL}"'), True),
        (schema(properties={"a": {"pattern": LITERAL}}), True),
        (schema(patternProperties={LITERAL: {}}), True),
        (chat("x", json_schema=WRITTEN), True),
        (HIDDEN, True),
        (HIDDEN_IN_TEXT, True),
        (schema(x=[{"$ref": "#" + "/a" * 500}] * 100), True),
        (schema(additionalProperties=False, description="a" * 4000), False),
        (chat("A regex of a pattern: " * 400), False),
        (chat("x" * 4000).replace(b"x", b"\\u0060", 100), False),
        (chat("x", regex="[a-z]+"), False),
    ],
)
async def test_what_holds_a_long_expression_is_parsed_aside(body: bytes, aside: bool) -> None:
    """Reading 1 MiB of patterns once blocked the loop for 5 s."""
    fake = FakeAside()
    await parser(fake).parse(request(body), CHAT, 10.0)
    assert bool(fake.done) is aside


PACKED = chat(
    "x",
    input=[{"encrypted_content": "sglang-reasoning-v1." + "a" * 8000}],
)


@pytest.mark.parametrize(
    ("body", "aside"),
    [
        (PACKED, True),
        (PACKED.replace(b"sglang", rb"\u0073glang"), True),
        (PACKED.replace(b"encrypted", rb"\u0065ncrypted"), True),
        (PACKED.replace(b"_content", rb"\u005fcontent"), True),
        (PACKED.replace(b"sglang", b"others"), False),
        (chat("What is sglang? " * 500), False),
    ],
)
async def test_what_holds_packed_reasoning_is_parsed_aside(body: bytes, aside: bool) -> None:
    """A few kilobytes may unpack to 16 MiB, which once blocked the loop for 0.15 s."""
    fake = FakeAside()
    await parser(fake).parse(request(body), CHAT, 10.0)
    assert bool(fake.done) is aside


async def test_a_call_from_aside_is_the_same_but_in_pieces() -> None:
    call = await parser(FakeAside()).parse(request(LONG), CHAT, 10.0)
    assert (call.route, call.model, call.hf_token) == (CHAT, "org/model", "hf_x")
    body = call.upstream_body("served", "salt")
    assert isinstance(body, tuple)
    assert orjson.loads(whole(body))["cache_salt"] == "salt"


async def test_a_caller_has_one_turn_at_a_time_and_others_have_theirs() -> None:
    fake = FakeAside()
    fake.pause.clear()
    made = parser(fake)
    mine = [asyncio.create_task(made.parse(request(LONG, "a"), CHAT, 10.0)) for _ in range(3)]
    medium = chat("hi " * 20_000)
    assert await made.parse(request(medium, "b"), CHAT, 10.0)
    other = asyncio.create_task(made.parse(request(LONG, "b"), CHAT, 10.0))
    await asyncio.sleep(0.01)
    assert fake.done == ["parse_aside"] * 2  # one of each
    fake.pause.set()
    assert len(await asyncio.gather(*mine, other)) == 4


async def test_between_two_medium_bodies_others_are_served() -> None:
    made, order = parser(FakeAside()), list[str]()
    medium = chat("hi " * 20_000)

    async def hostile() -> None:
        await made.parse(request(medium), CHAT, 10.0)
        order.append("hostile")

    async def ping() -> None:
        order.append("ping")

    sent = [asyncio.create_task(hostile()) for _ in range(3)]
    await asyncio.gather(*sent, asyncio.create_task(ping()))
    assert order == ["ping", "hostile", "hostile", "hostile"]


async def test_a_body_whose_turn_does_not_come_in_time_is_told() -> None:
    fake = FakeAside()
    fake.pause.clear()
    with pytest.raises(DeadlineExceeded):
        await parser(fake).parse(request(LONG), CHAT, 0.0)


@pytest.mark.parametrize(
    ("failure", "told"),
    [(TimeoutError(), InvalidRequest), (SideProcessDied("x"), InternalError)],
)
async def test_what_happens_aside_is_told(failure: Exception, told: type[Exception]) -> None:
    fake = FakeAside()
    fake.failure = failure
    with pytest.raises(told):
        await parser(fake).parse(request(LONG), CHAT, 10.0)


async def test_a_caller_who_left_gives_the_turn_on() -> None:
    fake = FakeAside()
    fake.pause.clear()
    made = parser(fake)
    first = asyncio.create_task(made.parse(request(LONG), CHAT, 10.0))
    second = asyncio.create_task(made.parse(request(LONG), CHAT, 10.0))
    await asyncio.sleep(0)
    first.cancel()
    fake.pause.set()
    assert isinstance(await second, Call)


async def test_bodies_that_wait_are_bounded_for_each_caller_and_for_all() -> None:
    turns = Turns(most=100, most_each=60)

    async def hold(caller: str, size: int) -> None:
        async with turns.take(caller, size):
            await asyncio.Event().wait()

    held = [asyncio.create_task(hold("a", 30)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        async with asyncio.timeout(1.0), turns.take("a", 1):
            pass
    async with turns.take("b", 40):
        with pytest.raises(QueueFull):
            async with turns.take("c", 1):
                pass
    for task in held:
        task.cancel()
    await asyncio.wait(held)
    async with turns.take("a", 60):
        pass
    assert not turns._lines


def test_the_time_to_parse_a_body_grows_with_its_bytes_and_its_values() -> None:
    assert parse_time(b"a" * 1000) < parse_time(b"a" * 2000) < parse_time(b"a" * 1999 + b"[")
    assert parse_time((b"a",)) > 1000
    assert size((b"a", b"b")) == 2
