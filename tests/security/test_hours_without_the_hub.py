"""The real client, and a Hub that no longer answers. Only the clock is a fake."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest

from router.access.authorize import Admission
from router.errors import HubUnavailable
from router.hub.singleflight import MAX_UNAVAILABLE_TTL
from router.secrets import Token
from tests.loopback_hub import LoopbackHub
from tests.pool.fakes import FakeClock, settle
from tests.security.admitting import admitting

OPEN, HIDDEN, HOUSE = "acme/Open", "acme/Hidden", "acme/House"
MINUTE, HOURS = 60.0, 24


async def test_what_was_public_and_what_the_operator_granted_is_served_and_nothing_else() -> (
    None
):
    clock, stranger = FakeClock(), Token("hf_" + secrets.token_hex(17))
    async with AsyncExitStack() as stack:
        with LoopbackHub() as hub:
            for name in (OPEN, HIDDEN, HOUSE):
                hub.add_repo(name, {"config.json": b"{}"}, private=name != OPEN)
            owner = Token(hub.add_account("acme"))
            own = {"MODEL_NAME": HOUSE, "HF_TOKEN": hub.add_account("acme")}
            admission = await stack.enter_async_context(
                admitting(hub, clock, **own, HF_TOKEN_MODELS="none")
            )
            for name, token in ((OPEN, None), (HIDDEN, owner), (HOUSE, None)):
                await admission.admit(name, token)
        await _a_day(admission, clock, owner, stranger)


async def _a_day(admission: Admission, clock: FakeClock, owner: Token, stranger: Token) -> None:
    served: Mapping[str, list[Token | None]] = {OPEN: [None, owner, stranger], HOUSE: [None]}
    refused: Mapping[str, list[Token | None]] = {
        HIDDEN: [None, owner, stranger],
        HOUSE: [owner, stranger],
        "acme/Absent": [None, owner],
    }
    for _ in range(HOURS):
        clock.advance(60 * MINUTE - 1)
        for name, tokens in served.items():
            for token in tokens:
                assert (await admission.admit(name, token)).model.repo_id == name
        for name, tokens in refused.items():
            for token in tokens:
                with pytest.raises(HubUnavailable) as caught:
                    await admission.admit(name, token)
                assert 1 <= caught.value.retry_after <= MAX_UNAVAILABLE_TTL
        await settle()  # for requests in the background
    clock.advance(MINUTE)
    with pytest.raises(HubUnavailable):
        await admission.admit(OPEN, None)
    assert (await admission.admit(HOUSE, None)).model.repo_id == HOUSE
