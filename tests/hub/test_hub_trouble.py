"""The cached Hub while the real one limits requests, hangs, or is down."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from router.errors import HubLimited, HubUnavailable, ModelNotFound
from router.hub.cache import CachedHub
from router.hub.interfaces import Asker, HubAnswer
from router.hub.last_public import MAX_RATE_LIMIT
from router.hub.singleflight import (
    ANSWER_TTL,
    MAX_ENTRIES,
    MAX_UNAVAILABLE_TTL,
    UNAVAILABLE_TTL,
)
from router.models import ModelRef
from router.secrets import Token
from tests.hub.scripted_hub import GATED, PUBLIC, REF, ScriptedHub
from tests.pool.fakes import FakeClock, settle

HOUR = 3600


@pytest.fixture
def hub() -> ScriptedHub:
    return ScriptedHub()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cached(hub: ScriptedHub, clock: FakeClock) -> CachedHub:
    return CachedHub(hub, clock, public_patience=60.0, random=lambda: 1.0)


def token() -> Token:
    return Token("hf_" + secrets.token_hex(16))


async def refused(cached: CachedHub, caller: Token | None, ref: ModelRef = REF) -> float:
    """The `retry_after` that the caller gets, in seconds."""
    with pytest.raises(HubUnavailable) as caught:
        await cached.resolve(ref, caller)
    return caught.value.retry_after


class TestRateLimit:
    async def test_its_reset_is_waited_for(
        self, hub: ScriptedHub, cached: CachedHub, clock: FakeClock
    ) -> None:
        hub.error, ann = HubLimited(55.0), token()
        assert await refused(cached, ann) == 55
        hub.error = None
        clock.advance(50.0)
        assert await refused(cached, ann) == 5
        assert await refused(cached, ann, ModelRef("org/another")) == 5
        with pytest.raises(HubUnavailable):
            await cached.entitle(GATED, ann)
        assert len(hub.asked) == 1
        clock.advance(5.0)
        assert (await cached.resolve(REF, ann)).value == PUBLIC

    async def test_it_applies_to_one_token_only(
        self, hub: ScriptedHub, cached: CachedHub
    ) -> None:
        hub.error = HubLimited(55.0)
        await refused(cached, token())
        hub.error = None
        for other in (token(), None):
            assert (await cached.resolve(ModelRef("org/another"), other)).value == PUBLIC

    async def test_it_is_never_longer_than_the_hubs_own_window(
        self, hub: ScriptedHub, cached: CachedHub, clock: FakeClock
    ) -> None:
        hub.error = HubLimited(1e9)
        assert await refused(cached, None) == MAX_RATE_LIMIT
        hub.error = None
        clock.advance(MAX_RATE_LIMIT)
        assert (await cached.resolve(REF, None)).value == PUBLIC

    async def test_a_limited_token_is_served_what_is_public_now(
        self, hub: ScriptedHub, cached: CachedHub
    ) -> None:
        await cached.resolve(REF, None)
        hub.error, ann = HubLimited(55.0), token()
        with pytest.raises(HubUnavailable):
            await cached.entitle(GATED, ann)  # from now on it is limited
        hub.error = None
        assert (await cached.resolve(REF, ann)).value == PUBLIC
        await cached.entitle(PUBLIC, ann)
        assert hub.asked[-1] == ("entitle", None)

    @pytest.mark.parametrize("question", ["name", "right"])
    async def test_a_limited_token_has_no_grace(
        self, hub: ScriptedHub, cached: CachedHub, clock: FakeClock, question: str
    ) -> None:
        await cached.resolve(REF, None)
        hub.error, ann = HubLimited(200.0), token()
        with pytest.raises(HubUnavailable):
            await cached.entitle(GATED, ann)
        hub.error = ModelNotFound("private now")
        clock.advance(ANSWER_TTL)
        ask: Callable[[Token], Awaitable[object]] = partial(cached.entitle, PUBLIC)
        if question == "name":
            ask = partial(cached.resolve, REF)
        with pytest.raises(HubLimited):
            await ask(ann)

    async def test_a_limited_machine_serves_for_one_of_the_hubs_windows(
        self, hub: ScriptedHub, cached: CachedHub, clock: FakeClock
    ) -> None:
        await cached.resolve(REF, None)
        hub.error = HubLimited(55.0)
        clock.advance(MAX_RATE_LIMIT - 0.1)
        assert (await cached.resolve(REF, None)).value == PUBLIC
        await cached.entitle(PUBLIC, None)
        clock.advance(0.1)
        for request in (cached.resolve(REF, None), cached.entitle(PUBLIC, None)):
            with pytest.raises(HubLimited):
                await request


class TestHangingHub:
    """The Hub accepts a request and never answers."""

    @pytest.fixture
    def cached(self, hub: ScriptedHub, clock: FakeClock) -> CachedHub:
        return CachedHub(hub, clock, public_patience=0.01)

    async def test_callers_of_a_public_model_do_not_wait_for_it(
        self, hub: ScriptedHub, cached: CachedHub, clock: FakeClock
    ) -> None:
        await cached.resolve(REF, None)
        clock.advance(ANSWER_TTL)
        hub.answering.clear()
        async with asyncio.timeout(60):
            assert (await cached.resolve(REF, None)).value == PUBLIC
            await cached.entitle(PUBLIC, None)
        assert len(hub.asked) == 3
        await cached.close()

    async def test_callers_of_other_models_wait(
        self, hub: ScriptedHub, cached: CachedHub
    ) -> None:
        hub.answering.clear()
        asking = asyncio.create_task(cached.entitle(GATED, token()))
        done, _ = await asyncio.wait([asking], timeout=0.05)
        assert not done
        hub.answering.set()
        await asking

    async def test_a_late_answer_still_counts(
        self, hub: ScriptedHub, cached: CachedHub, clock: FakeClock
    ) -> None:
        await cached.resolve(REF, None)
        clock.advance(ANSWER_TTL)
        hub.answering.clear()
        await cached.resolve(REF, None)
        hub.model = GATED
        hub.answering.set()
        await settle()
        assert (await cached.resolve(REF, None)).value == GATED
        assert len(hub.asked) == 2

    async def test_after_a_failure_callers_of_a_public_model_do_not_wait_at_all(
        self, hub: ScriptedHub, clock: FakeClock
    ) -> None:
        cached = CachedHub(hub, clock, public_patience=float("inf"))
        await cached.resolve(REF, None)
        hub.error = HubUnavailable("down")
        clock.advance(ANSWER_TTL)
        await cached.resolve(REF, None)
        hub.answering.clear()
        clock.advance(UNAVAILABLE_TTL)
        assert (await asyncio.wait_for(cached.resolve(REF, None), 60)).value == PUBLIC
        assert len(hub.asked) == 3
        await cached.close()


async def test_retries_after_a_common_failure_are_spread(
    hub: ScriptedHub, clock: FakeClock
) -> None:
    cached = CachedHub(hub, clock, random=random.Random(1).random)
    callers = [token() for _ in range(100)]
    hub.error = HubUnavailable("down")
    for caller in callers:
        await refused(cached, caller)
    hub.asked.clear()
    clock.advance(UNAVAILABLE_TTL * 0.75)
    for caller in callers:
        await refused(cached, caller)
    assert 25 < len(hub.asked) < 75


async def test_refusals_take_bounded_space(hub: ScriptedHub, cached: CachedHub) -> None:
    """The oldest entry is dropped before it expires."""
    free = Asker(reserved=True)
    hub.error = ModelNotFound("no such model")
    for number in range(MAX_ENTRIES + 1):
        with pytest.raises(ModelNotFound):
            await cached.resolve(ModelRef(f"org/{number}"), None, free)
    hub.asked.clear()
    for number in (MAX_ENTRIES, 0):
        with pytest.raises(ModelNotFound):
            await cached.resolve(ModelRef(f"org/{number}"), None, free)
    assert len(hub.asked) == 1


class TestAnHourWithoutTheHub:
    """Every ten seconds each caller asks for each model. Later the Hub is back."""

    @pytest.mark.parametrize("chance", [0.0, 1.0])
    async def test_it_is_asked_rarely_and_then_once(
        self, hub: ScriptedHub, clock: FakeClock, chance: float
    ) -> None:
        cached = CachedHub(hub, clock, random=lambda: chance)
        callers = [*(token() for _ in range(20)), None]
        await cached.resolve(REF, None)
        hub.error = HubUnavailable("down")
        clock.advance(ANSWER_TTL)

        hub.asked.clear()
        for _ in range(HOUR // 10):
            outcomes = await asyncio.gather(
                *(cached.entitle(GATED, caller) for caller in callers * 5),
                *(cached.resolve(REF, caller) for caller in callers * 5),
                return_exceptions=True,
            )
            unavailable = [error for error in outcomes if isinstance(error, HubUnavailable)]
            assert len(unavailable) == len(callers) * 5
            assert all(1 <= error.retry_after <= MAX_UNAVAILABLE_TTL for error in unavailable)
            answers = [answer for answer in outcomes if isinstance(answer, HubAnswer)]
            assert [answer.value for answer in answers] == [PUBLIC] * len(callers) * 5
            clock.advance(10.0)
        rounds = HOUR / (MAX_UNAVAILABLE_TTL / 2)
        assert len(hub.asked) <= rounds * 2 * len(callers)

        hub.error = None
        hub.asked.clear()
        clock.advance(MAX_UNAVAILABLE_TTL)
        await asyncio.gather(*(cached.entitle(GATED, caller) for caller in callers * 5))
        assert Counter(hub.asked).most_common(1)[0][1] == 1
        assert len(hub.asked) == len(callers)
