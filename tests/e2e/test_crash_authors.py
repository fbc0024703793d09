"""One caller's requests kill a shared engine; another caller uses it normally."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.caller import Answer, Caller, calling
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.worker import Worker

POISON = "arsenic"
QUARANTINED = (429, "caller_quarantined")
FAILED = (502, "engine_failed")


@dataclass(frozen=True)
class Keys:
    good: str
    bad: str


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys(secrets.token_hex(16), secrets.token_hex(16))


@pytest.fixture(scope="module")
def worker(harness: Harness, keys: Keys) -> Iterator[Worker]:
    with harness.worker(
        MAX_LOADED_MODELS="8", STALL_TIMEOUT="2", API_KEYS=f"{keys.good},{keys.bad}"
    ) as worker:
        yield worker


async def poisoned(caller: Caller, model: str, key: str) -> Answer:
    return await caller.chat(model, key=key, user=POISON)


async def poison_until_refused(caller: Caller, model: str, key: str) -> list[Answer]:
    """Send it again after each error, until an error asks for a long wait."""
    answers: list[Answer] = []
    while not answers or int(answers[-1].headers.get("Retry-After", "0")) < 30:
        answers.append(await poisoned(caller, model, key))
        assert len(answers) < 10
    return answers


@pytest.mark.parametrize("takes", [0.0, 1.0])
async def test_who_kills_a_shared_engine_is_shut_out_and_the_others_are_answered(
    worker: Worker, harness: Harness, caller: Caller, keys: Keys, takes: float
) -> None:
    model = harness.model(f"acme/shared-{takes:.0f}", poison=POISON, poison_takes=takes)
    assert (await caller.chat(model, key=keys.good)).status == 200
    over = asyncio.Event()

    async def well_behaved() -> list[Answer]:
        answers: list[Answer] = []
        while not over.is_set() or len(answers) < 20:
            answers.append(await caller.chat(model, key=keys.good))
            await asyncio.sleep(0.05)
        return answers

    behaving = asyncio.create_task(well_behaved())
    *_, last = answers = await poison_until_refused(caller, model, keys.bad)
    over.set()
    assert {answer.status for answer in await behaving} == {200}
    assert last.refusal == QUARANTINED
    assert "crashed 2 times" in last.json["error"]["message"]
    assert last.json["error"]["retry_after"] == int(last.headers["Retry-After"]) > 500
    assert [answer.refusal for answer in answers[:-1]] == [FAILED] * (len(answers) - 1)
    assert len(harness.journal.events("start", model)) == 3
    await eventually(lambda: "it is quarantined from the model" in worker.log)
    assert keys.bad not in worker.log


async def test_the_same_caller_may_use_other_models(
    harness: Harness, caller: Caller, keys: Keys
) -> None:
    model = harness.model("acme/other", poison=POISON)
    await caller.chat(model, key=keys.good)
    await poison_until_refused(caller, model, keys.bad)
    assert (await caller.chat(model, key=keys.bad)).refusal == QUARANTINED
    innocent = harness.model("acme/innocent")
    assert (await caller.chat(innocent, key=keys.bad)).text == f"I am {innocent}"
    assert (await caller.chat(model, key=keys.good)).text == f"I am {model}"


async def test_a_poison_gets_one_engine_of_others_only(
    harness: Harness, caller: Caller, keys: Keys
) -> None:
    model = harness.model("acme/once-only", poison=POISON)
    assert (await caller.chat(model, key=keys.good)).status == 200
    refused = await poisoned(caller, model, keys.bad)
    assert refused.refusal == FAILED
    assert "not tried again" in refused.json["error"]["message"]
    assert (await caller.chat(model, key=keys.good)).status == 200
    assert len(harness.journal.events("start", model)) == 2


async def test_a_caller_that_hangs_up_after_its_poison_is_found_all_the_same(
    worker: Worker, harness: Harness, caller: Caller, keys: Keys
) -> None:
    model = harness.model("acme/hung-up", poison=POISON, poison_takes=0.5)
    for deaths in (1, 2):
        assert (await caller.chat(model, key=keys.good)).status == 200
        sent = len(harness.journal.events("request", model))
        async with calling(worker.url) as leaving:
            poison = asyncio.create_task(poisoned(leaving, model, keys.bad))
            await eventually(lambda: len(harness.journal.events("request", model)) > sent)  # noqa: B023
            poison.cancel()
        crash = re.compile(rf"{model}@\S+ crashed: ")
        await eventually(lambda: len(crash.findall(worker.log)) == deaths)  # noqa: B023
    assert (await caller.chat(model, key=keys.bad)).refusal == QUARANTINED
    assert (await caller.chat(model, key=keys.good)).status == 200


async def test_a_poisoned_stream_is_told_of_the_quarantine_too(
    harness: Harness, caller: Caller, keys: Keys
) -> None:
    model = harness.model("acme/streamed", poison=POISON)
    assert (await caller.chat(model, key=keys.good)).status == 200
    for _ in range(2):
        await caller.chat(model, key=keys.bad, user=POISON, stream=True)
    refused = await caller.chat(model, key=keys.bad, stream=True)
    assert refused.refusal == QUARANTINED
    assert (await caller.chat(model, key=keys.good)).status == 200
