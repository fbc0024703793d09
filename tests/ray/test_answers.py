"""A replica authorizes its own requests, sends no more than is read, and ends answers that
nobody waits for."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from router.access.keyring import Keyring
from router.config.caller_keys import CallerKey, sha256_of
from router.ray.answers import Answers
from router.ray.messages import AnswerEnd, AnswerHead, Errand, Item, Refused, is_comment
from router.ray.orphans import SILENT_LOOKS
from router.ray.window import WINDOW
from router.requests.interfaces import Backend
from router.requests.record import Record
from router.requests.recorder import Recorder
from tests.doubles import Answer, whole
from tests.eventually import eventually
from tests.requests.harness import CHAT, SSE, ServiceHarness, chat, serving_fakes, token

EVENT = b"data: {}\n\n"


class Replica:
    def __init__(self, harness: ServiceHarness, keys: Keyring | None = None) -> None:
        self.harness, self.records = harness, list[Record]()
        recorder = Recorder(observers=[self.records.append])
        self.answers = Answers(harness.service, keys or Keyring(), recorder)

    async def ask(
        self,
        model: str = "org/model",
        *,
        hf_token: str | None = None,
        caller: str = "",
        stream: bool = False,
    ) -> AsyncIterator[Item]:
        errand = Errand("ingress", CHAT, "id", caller, hf_token, answer="answer")
        async for item in self.answers.to(errand, [whole(chat(model, stream=stream).body)]):
            yield item

    async def all(
        self, model: str = "org/model", *, hf_token: str | None = None, caller: str = ""
    ) -> list[Item]:
        return [item async for item in self.ask(model, hf_token=hf_token, caller=caller)]


@asynccontextmanager
async def replica(
    *answers: Answer, keys: Keyring | None = None, silence: float = 10.0
) -> AsyncIterator[Replica]:
    async with serving_fakes(*answers, silence=silence) as harness:
        yield Replica(harness, keys)


async def test_an_answer_is_a_head_its_body_and_an_end() -> None:
    async with replica(Answer((b'{"id": 1}',))) as one:
        head, *body, end = await one.all()
        assert isinstance(head, AnswerHead)
        assert b"".join(item for item in body if isinstance(item, bytes)) == b'{"id": 1}'
        assert end == AnswerEnd()
        assert [record.status for record in one.records] == [200]


async def test_a_replica_asks_the_hub_with_the_callers_own_token() -> None:
    owner, stranger = token(), token()
    async with replica() as one:
        one.harness.hub.add("org/private", owner)
        served = await one.all("org/private", hf_token=owner.reveal())
        refused = await one.all("org/private", hf_token=stranger.reveal())
        nobody = await one.all("org/private")
        assert served[-1] == AnswerEnd()
        for (only,) in (refused, nobody):
            assert isinstance(only, Refused)
            assert only.problem.status in (401, 403, 404)
        assert {owner.digest, stranger.digest, ""} <= {
            asked for _, _, asked in one.harness.hub.asked
        }


async def test_a_replica_knows_the_caller_by_the_name_of_the_key() -> None:
    key, other = secrets.token_hex(16), secrets.token_hex(16)
    named = [CallerKey(name="billing", sha256=sha256_of(key))]
    ingress = Keyring([other], named)
    async with replica(keys=Keyring([other], named)) as one:
        await one.all(caller=ingress.label(ingress.caller([key])))
        await one.all(caller=ingress.label(ingress.caller([other])))
        (strange,) = await one.all(caller="name unknown")
        (nobody,) = await one.all()
        for refused in (strange, nobody):
            assert isinstance(refused, Refused)
            assert refused.problem.status == 401
        assert len(one.harness.upstream.sent) == 2
        salts = {one.harness.sent(number)["cache_salt"] for number in range(2)}
        assert len(salts) == 2
        assert [record.caller for record in one.records[:1]] == ["billing"]


async def test_an_answer_that_nobody_reads_waits_at_the_engine() -> None:
    async with replica(Answer((bytes(WINDOW),) * 3)) as one:
        got = list[Item]()

        async def read() -> None:
            async for item in one.ask():
                got.append(item)

        reading = asyncio.create_task(read())
        await eventually(lambda: _bytes(got) >= WINDOW - 2**17)
        await _turns()
        assert _bytes(got) <= WINDOW
        assert max(len(item) for item in got if isinstance(item, bytes)) <= 64 * 1024
        one.answers.took("answer", 4 * WINDOW)
        await reading
        assert _bytes(got) == 3 * WINDOW
        assert got[-1] == AnswerEnd()


async def test_a_visit_makes_room_too() -> None:
    async with replica(Answer((bytes(WINDOW),) * 3)) as one:
        got = list[Item]()

        async def read() -> None:
            async for item in one.ask():
                got.append(item)

        reading = asyncio.create_task(read())
        await eventually(lambda: _bytes(got) >= WINDOW - 2**17)
        one.answers.visited("ingress", {"answer": 4 * WINDOW})
        await reading
        assert _bytes(got) == 3 * WINDOW


async def test_the_answer_for_an_ingress_that_is_gone_ends() -> None:
    async with replica(Answer((EVENT,), hangs=True, headers=SSE)) as one:
        got = list[Item]()

        async def read() -> None:
            async for item in one.ask(stream=True):
                got.append(item)

        reading = asyncio.create_task(read())
        await eventually(lambda: EVENT in got)
        for _ in range(SILENT_LOOKS):
            one.answers.visited("ingress", {})
            one.answers.end_orphans()
        await _turns()
        assert not reading.done()
        for _ in range(SILENT_LOOKS):
            one.answers.end_orphans()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert one.harness.upstream.open_now == 0


async def test_a_stream_that_fails_after_comments_alone_is_refused() -> None:
    """The ingress can try another replica."""
    thinks = asyncio.Event()
    lost = Answer((EVENT,), headers=SSE, lost_after=0, thinks=thinks)
    async with replica(lost, silence=0.0) as one:
        got = list[Item]()

        async def read() -> None:
            async for item in one.ask(stream=True):
                got.append(item)

        reading = asyncio.create_task(read())
        await eventually(lambda: any(isinstance(item, bytes) for item in got))
        thinks.set()
        await reading
        head, *comments, refused = got
        assert isinstance(head, AnswerHead)
        assert all(isinstance(one, bytes) and is_comment(one) for one in comments)
        assert isinstance(refused, Refused)


async def test_a_stream_that_fails_in_the_middle_says_so_by_itself() -> None:
    async with replica(Answer((EVENT, EVENT), headers=SSE, lost_after=1)) as one:
        *_, last, end = [item async for item in one.ask(stream=True)]
        assert isinstance(last, bytes)
        assert b"engine_failed" in last
        assert end == AnswerEnd()


@pytest.mark.parametrize("leaving", [True, False])
async def test_a_refusal_tells_whether_the_replica_is_leaving(leaving: bool) -> None:
    async with replica() as one:
        one.harness.service.leaving = leaving
        (refused,) = await one.all("org/missing")
        assert isinstance(refused, Refused)
        assert refused.leaving is leaving


class Defective:
    """A service with a defect."""

    def open(self, *_: object) -> object:
        raise RuntimeError("with a secret")


async def test_a_defect_is_told_without_its_cause() -> None:
    answers = Answers(cast("Backend", Defective()), Keyring(), Recorder())
    errand = Errand("ingress", CHAT, "id", "", answer="answer")
    (refused,) = [item async for item in answers.to(errand, [b"{}"])]
    assert isinstance(refused, Refused)
    assert (refused.problem.status, refused.leaving) == (500, False)
    assert "secret" not in refused.problem.message


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def _bytes(items: list[Item]) -> int:
    return sum(len(item) for item in items if isinstance(item, bytes))
