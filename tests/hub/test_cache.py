"""What the cached Hub caches, for which caller, and for how long."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

import pytest

from router.errors import (
    AccessError,
    HubUnavailable,
    InvalidHfToken,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RateLimited,
    RouterError,
)
from router.hub.cache import PUBLIC_GRACE, CachedHub
from router.hub.interfaces import Asker
from router.hub.singleflight import ANSWER_TTL, REFUSAL_TTL, UNAVAILABLE_TTL
from router.models import Access, ModelRef, ResolvedModel
from router.secrets import Token
from tests.hub.scripted_hub import GATED, PUBLIC, REF, ScriptedHub
from tests.pool.fakes import FakeClock


@pytest.fixture
def hub() -> ScriptedHub:
    return ScriptedHub()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cached(hub: ScriptedHub, clock: FakeClock) -> CachedHub:
    return CachedHub(hub, clock)


@pytest.fixture
def ann() -> Token:
    return Token("hf_" + secrets.token_hex(16))


@pytest.fixture
def bob() -> Token:
    return Token("hf_" + secrets.token_hex(16))


async def test_a_success_is_cached_for_its_time_only(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock, ann: Token
) -> None:
    for _ in range(3):
        assert (await cached.resolve(REF, ann)).value == PUBLIC
        await cached.entitle(PUBLIC, ann)
    assert len(hub.asked) == 2
    clock.now += ANSWER_TTL - 0.1
    await cached.entitle(PUBLIC, ann)
    assert len(hub.asked) == 2
    clock.now += 0.1
    await cached.entitle(PUBLIC, ann)
    assert len(hub.asked) == 3


async def test_a_refusal_is_cached_for_less_time(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock, ann: Token
) -> None:
    hub.error = ModelGated("gated")
    for _ in range(3):
        with pytest.raises(ModelGated, match="gated"):
            await cached.entitle(GATED, ann)
    assert len(hub.asked) == 1
    hub.error = None
    clock.now += REFUSAL_TTL
    await cached.entitle(GATED, ann)


async def test_one_callers_entitlement_is_not_anothers(
    hub: ScriptedHub, cached: CachedHub, ann: Token, bob: Token
) -> None:
    for credential in (ann, bob, None):
        await cached.resolve(REF, credential)
        await cached.entitle(PUBLIC, credential)
    assert len(hub.asked) == 6


async def test_anonymous_callers_share_anonymous_answers(
    hub: ScriptedHub, cached: CachedHub
) -> None:
    await asyncio.gather(*(cached.resolve(REF, None) for _ in range(5)))
    assert hub.asked == [("resolve", None)]


async def test_each_commit_is_asked_for(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    await cached.entitle(PUBLIC, ann)
    await cached.entitle(ResolvedModel(PUBLIC.repo_id, "c" * 40), ann)
    assert len(hub.asked) == 2


async def test_cancelling_one_waiter_does_not_affect_the_others(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    hub.answering.clear()
    first, second = (asyncio.create_task(cached.entitle(PUBLIC, ann)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    hub.answering.set()
    await second
    assert (len(hub.asked), hub.cancelled) == (1, 0)


async def test_the_answer_is_cached_when_all_waiters_were_cancelled(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    hub.answering.clear()
    waiter = asyncio.create_task(cached.entitle(PUBLIC, ann))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    hub.answering.set()
    await cached.entitle(PUBLIC, ann)
    assert len(hub.asked) == 1


async def test_closing_cancels_running_requests_and_tells_the_waiters(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    hub.answering.clear()
    waiter = asyncio.create_task(cached.entitle(PUBLIC, ann))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cached.close()
    with pytest.raises(HubUnavailable):
        await waiter
    assert hub.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_refusal_raised_many_times_does_not_grow(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    hub.error = ModelNotFound("nowhere")
    caught = []
    for _ in range(3):
        with pytest.raises(ModelNotFound) as refusal:
            await cached.resolve(REF, ann)
        caught.append(refusal)
    assert len(caught[1].traceback) == len(caught[2].traceback)
    assert caught[1].value is not caught[2].value


async def test_without_the_hub_an_unexpired_entitlement_holds(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock, ann: Token
) -> None:
    hub.model = GATED
    await cached.resolve(REF, ann)
    await cached.entitle(GATED, ann)
    hub.error = HubUnavailable("down", retry_after=55.0)
    clock.now += ANSWER_TTL - 1
    await cached.resolve(REF, ann)
    await cached.entitle(GATED, ann)
    clock.now += 1
    for request in (cached.resolve(REF, ann), cached.entitle(GATED, ann)):
        with pytest.raises(HubUnavailable) as caught:
            await request
        assert caught.value.retry_after == 55.0


async def test_without_the_hub_a_public_model_is_served_for_its_grace(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock, ann: Token, bob: Token
) -> None:
    await cached.resolve(REF, ann)
    hub.error = HubUnavailable("down")
    clock.now += PUBLIC_GRACE - 1
    for credential in (ann, bob, None):  # a token that can't be checked counts as no token
        assert (await cached.resolve(REF, credential)).value == PUBLIC
        await cached.entitle(PUBLIC, credential)
    clock.now += 1
    with pytest.raises(HubUnavailable):
        await cached.resolve(REF, None)
    with pytest.raises(HubUnavailable):
        await cached.entitle(PUBLIC, None)


async def test_only_the_name_and_revision_that_were_seen_are_served_without_the_hub(
    hub: ScriptedHub, cached: CachedHub
) -> None:
    await cached.resolve(REF, None)
    hub.error = HubUnavailable("down")
    with pytest.raises(HubUnavailable):
        await cached.resolve(ModelRef("org/model", "v2"), None)


@pytest.mark.parametrize(
    ("error", "by_token"),
    [
        (ModelNotFound("gone"), False),
        (ModelGated("gated"), False),
        (ModelGated("gated"), True),
        (ModelDisabled("disabled"), True),
        (None, True),
    ],
)
async def test_the_grace_ends_when_a_model_is_no_longer_public(
    hub: ScriptedHub,
    cached: CachedHub,
    clock: FakeClock,
    error: RouterError | None,
    by_token: bool,
) -> None:
    await cached.resolve(REF, None)
    clock.now += ANSWER_TTL
    hub.model = ResolvedModel(PUBLIC.repo_id, PUBLIC.commit, access=Access.GATED)
    hub.error = error
    with suppress(AccessError):
        await cached.resolve(REF, Token("hf_" + secrets.token_hex(16)) if by_token else None)
    clock.now += ANSWER_TTL
    hub.error = HubUnavailable("down")
    for request in (cached.resolve(REF, None), cached.entitle(PUBLIC, None)):
        with pytest.raises(HubUnavailable):
            await request


async def test_what_one_token_does_not_reach_stays_public_until_an_anonymous_caller_asks(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock, ann: Token
) -> None:
    """Otherwise, anyone with a token of little scope could end the grace for all. If the model
    did become private, the Hub tells the first anonymous caller. If it can't be asked, the
    model counts as public for the rest of the grace since the Hub last said so."""
    await cached.resolve(REF, None)
    hub.error = ModelNotFound("out of scope, or private")
    for request in (cached.resolve(REF, ann), cached.entitle(PUBLIC, ann)):
        with pytest.raises(ModelNotFound):
            await request
    clock.now += ANSWER_TTL
    hub.error = HubUnavailable("down")
    assert (await cached.resolve(REF, None)).value == PUBLIC
    await cached.entitle(PUBLIC, None)

    clock.now += ANSWER_TTL
    hub.error = ModelNotFound("private")
    with pytest.raises(ModelNotFound):
        await cached.resolve(REF, None)
    clock.now += ANSWER_TTL
    hub.error = HubUnavailable("down")
    with pytest.raises(HubUnavailable):
        await cached.resolve(REF, None)


async def test_entitlements_that_expire_while_one_is_refused_are_no_error(
    hub: ScriptedHub, ann: Token
) -> None:
    class Running(FakeClock):
        """Each look at it takes time, so that answers expire between two of them."""

        step = 0.0

        def __call__(self) -> float:
            self.now += self.step
            return self.now

    for steps in range(1, 40):
        clock = Running()
        cached = CachedHub(hub, clock)
        hub.error = None
        await cached.entitle(PUBLIC, ann)
        hub.error = ModelNotFound("revoked")
        clock.step = ANSWER_TTL / steps
        with pytest.raises(ModelNotFound):
            await cached.resolve(REF, ann)


async def test_a_bad_token_does_not_end_the_grace_of_others(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock, ann: Token
) -> None:
    await cached.resolve(REF, None)
    hub.error = InvalidHfToken("bad")
    with pytest.raises(InvalidHfToken):
        await cached.resolve(REF, ann)
    clock.now += ANSWER_TTL
    hub.error = HubUnavailable("down")
    await cached.resolve(REF, None)


async def test_a_hub_in_trouble_is_not_asked_by_every_request(
    hub: ScriptedHub, cached: CachedHub, clock: FakeClock
) -> None:
    hub.error = HubUnavailable("down")
    for _ in range(3):
        with pytest.raises(HubUnavailable):
            await cached.resolve(REF, None)
    assert len(hub.asked) == 1
    hub.error = None
    clock.now += UNAVAILABLE_TTL
    await cached.resolve(REF, None)


@pytest.mark.parametrize("refusal", [InvalidHfToken, ModelNotFound])
async def test_a_refusal_by_name_ends_that_callers_entitlement_at_once(
    hub: ScriptedHub, cached: CachedHub, ann: Token, bob: Token, refusal: type[RouterError]
) -> None:
    await cached.entitle(PUBLIC, ann)
    await cached.entitle(PUBLIC, bob)
    hub.error = refusal("revoked")
    with pytest.raises(refusal):
        await cached.resolve(REF, ann)
    with pytest.raises(refusal):
        await cached.entitle(PUBLIC, ann)
    await cached.entitle(PUBLIC, bob)


async def test_a_thawed_worker_does_not_cache_running_requests(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    await cached.entitle(PUBLIC, ann)
    hub.answering.clear()
    asking = asyncio.create_task(cached.entitle(GATED, ann))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cached.invalidate()
    hub.answering.set()
    await asking  # its caller still gets the answer
    await cached.entitle(PUBLIC, ann)
    await cached.entitle(GATED, ann)
    assert len(hub.asked) == 4


async def test_a_token_is_accepted_until_it_is_refused(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    assert ann.digest not in cached.accepted
    await cached.resolve(REF, ann)
    assert ann.digest in cached.accepted
    hub.error = InvalidHfToken("revoked")
    with pytest.raises(InvalidHfToken):
        await cached.entitle(PUBLIC, ann)
    assert ann.digest not in cached.accepted


async def test_silence_and_grace_accept_no_token(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    await cached.resolve(REF, None)
    hub.error = HubUnavailable("down")
    assert (await cached.resolve(REF, ann)).value == PUBLIC
    await cached.entitle(PUBLIC, ann)
    assert ann.digest not in cached.accepted


async def test_a_fresh_answer_is_asked_for_and_silence_leaves_the_last_one(
    hub: ScriptedHub, cached: CachedHub, ann: Token
) -> None:
    await cached.entitle(GATED, ann)
    hub.error = HubUnavailable("down")
    with pytest.raises(HubUnavailable):
        await cached.entitle(GATED, ann, Asker(fresh=True))
    await cached.entitle(GATED, ann)
    assert len(hub.asked) == 2


async def test_a_model_in_use_is_asked_about_however_much_was_asked(
    hub: ScriptedHub, clock: FakeClock
) -> None:
    cached = CachedHub(hub, clock, requests=4)
    for _ in range(2):
        await cached.resolve(REF, None)
        clock.advance(ANSWER_TTL)
    # An engine runs it for others, but this caller never learned of it.
    loaded, unseen = Asker(loaded=True), ModelRef("org/unseen")
    for ref, asker in ((REF, Asker()), (unseen, Asker()), (unseen, loaded)):
        with pytest.raises(RateLimited):
            await cached.resolve(ref, None, asker)
    assert len(hub.asked) == 2
    await cached.resolve(REF, None, loaded)
    await cached.resolve(unseen, None, Asker(reserved=True))
    assert len(hub.asked) == 4
