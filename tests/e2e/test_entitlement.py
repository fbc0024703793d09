"""The answer to each kind of caller, with a Hub that refuses in all possible ways."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.caller import VARYING, Answer, Caller, calling
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.worker import Worker

NOT_FOUND = (404, "model_not_found")
GATED = (403, "model_gated")
BAD_TOKEN = (401, "invalid_hf_token")


@pytest.fixture(scope="module", autouse=True)
def models(harness: Harness) -> None:
    harness.model("acme/open")
    harness.model("acme/gated", gated=True)
    harness.model("acme/hidden", private=True)
    harness.model("acme/other-hidden", private=True)


@pytest.fixture(scope="module")
def worker(harness: Harness, models: None) -> Iterator[Worker]:
    with harness.worker(MAX_LOADED_MODELS="4") as worker:
        yield worker


@pytest.fixture(scope="module")
def tokens(harness: Harness) -> dict[str, str | None]:
    """Tokens, by the role of the caller."""
    hub = harness.hub
    hub.accept("acme/gated", "accepted")
    tokens = {name: hub.add_account(name) for name in ("acme", "accepted", "stranger")}
    scoped, unscoped, expired = (hub.add_account("acme") for _ in range(3))
    hub.restrict(scoped, ["acme/hidden", "acme/gated"])
    hub.restrict(unscoped)
    hub.expire(expired)
    unknown = "hf_" + secrets.token_hex(17)
    made = {"scoped": scoped, "unscoped": unscoped, "expired": expired, "unknown": unknown}
    return {**tokens, **made, "none": None}


def outcome(answer: Answer) -> object:
    return answer.text if answer.status == 200 else answer.refusal


@pytest.mark.parametrize(
    ("model", "bearer", "expected"),
    [
        ("acme/open", "none", "I am acme/open"),
        ("acme/open", "stranger", "I am acme/open"),
        ("acme/open", "expired", BAD_TOKEN),
        ("acme/open", "unknown", BAD_TOKEN),
        ("acme/gated", "none", GATED),
        ("acme/gated", "stranger", GATED),
        ("acme/gated", "accepted", "I am acme/gated"),
        ("acme/gated", "scoped", "I am acme/gated"),
        ("acme/gated", "unscoped", (403, "hf_token_scope")),
        ("acme/hidden", "none", NOT_FOUND),
        ("acme/hidden", "stranger", NOT_FOUND),
        ("acme/hidden", "acme", "I am acme/hidden"),
        ("acme/hidden", "scoped", "I am acme/hidden"),
        ("acme/hidden", "unscoped", NOT_FOUND),
        ("acme/other-hidden", "scoped", NOT_FOUND),
        ("acme/hidden", "unknown", BAD_TOKEN),
        ("acme/hidden", "expired", BAD_TOKEN),
    ],
)
async def test_a_caller_gets_what_its_token_may_read(
    caller: Caller,
    tokens: dict[str, str | None],
    model: str,
    bearer: str,
    expected: object,
) -> None:
    assert outcome(await caller.chat(model, token=tokens[bearer])) == expected


async def test_a_gate_names_the_page_where_access_is_asked_for(
    harness: Harness, caller: Caller
) -> None:
    answer = await caller.chat("acme/gated")
    assert f"{harness.hub.endpoint}/acme/gated" in answer.json["error"]["message"]


async def test_a_token_in_the_body_is_as_good_as_one_in_the_header(
    caller: Caller, tokens: dict[str, str | None]
) -> None:
    answer = await caller.chat("acme/hidden", hf_token=tokens["acme"])
    assert answer.text == "I am acme/hidden"


async def test_a_warm_engine_is_no_right_to_use_it(harness: Harness, caller: Caller) -> None:
    model = harness.model("acme/warm", private=True)
    harness.hub.share(model, "guest")
    guest, stranger = harness.hub.add_account("guest"), harness.hub.add_account("stranger")
    assert (await caller.chat(model, token=guest)).text == f"I am {model}"

    harness.hub.withdraw(model, "guest")
    late = harness.hub.add_account("guest")
    for token in (stranger, late, None):
        assert (await caller.chat(model, token=token)).refusal == NOT_FOUND
    assert len(harness.journal.events("start", model)) == 1
    assert len(harness.journal.events("request", model)) == 1


async def test_a_token_that_was_revoked_is_refused_for_a_warm_engine(
    harness: Harness, caller: Caller
) -> None:
    model = harness.model("acme/also-warm", private=True)
    token, revoked = harness.hub.add_account("acme"), harness.hub.add_account("acme")
    assert (await caller.chat(model, token=token)).status == 200
    harness.hub.expire(revoked)
    assert (await caller.chat(model, token=revoked)).refusal == BAD_TOKEN


_names = itertools.count(1)


@pytest.mark.parametrize("bearer", ["none", "stranger", "unscoped", "unknown"])
async def test_private_and_missing_are_the_same_to_who_may_not_know(
    harness: Harness, caller: Caller, tokens: dict[str, str | None], bearer: str
) -> None:
    number = next(_names)  # new names, because cached answers would hide the calls to the Hub
    hidden = harness.model(f"acme/hidden-{number}", private=True)
    absent = f"acme/absent-{number}"

    async def look(model: str) -> tuple[object, ...]:
        before = len(harness.hub.requests)
        token = tokens[bearer]
        answers = [
            await caller.chat(model, token=token),
            await caller.chat(f"{model}@v1", token=token),
            await caller.get(
                f"/v1/models/{model}", **({} if token is None else {"X-HF-Token": token})
            ),
        ]
        asked = [
            (request.method, request.path.replace(model, "MODEL"), request.account)
            for request in harness.hub.requests[before:]
        ]
        return asked, [_seen(answer, model) for answer in answers]

    assert await look(hidden) == await look(absent)
    assert not harness.journal.events("start", hidden)


def _seen(answer: Answer, model: str) -> tuple[object, ...]:
    headers = {
        name: value for name, value in answer.headers.items() if name.lower() not in VARYING
    }
    return answer.status, headers, answer.body.replace(model.encode(), b"MODEL")


async def test_hf_token_serves_this_machines_callers_who_bring_none(
    harness: Harness, tokens: dict[str, str | None]
) -> None:
    own = harness.hub.add_account("acme")
    with harness.worker(HF_TOKEN=own) as worker:
        assert "HF_TOKEN serves all models: only this machine can call" in worker.log
        async with calling(worker.url) as caller:
            assert (await caller.chat("acme/hidden")).text == "I am acme/hidden"
            # A token that was sent decides, even if the worker's own token could do more.
            refusals = {"stranger": NOT_FOUND, "unscoped": NOT_FOUND, "unknown": BAD_TOKEN}
            for bearer, refusal in refusals.items():
                answer = await caller.chat("acme/hidden", token=tokens[bearer])
                assert answer.refusal == refusal
            malformed = await caller.chat("acme/hidden", token=f"Bearer {own}")
            assert malformed.refusal == BAD_TOKEN


async def test_hf_token_can_be_kept_to_the_operators_models(harness: Harness) -> None:
    own = harness.hub.add_account("acme")
    with harness.worker(
        HF_TOKEN=own, HF_TOKEN_MODELS="none", MODEL_NAME="acme/gated", ALLOWED_MODELS="acme/*"
    ) as worker:
        async with calling(worker.url) as caller:
            assert (await caller.chat(None)).text == "I am acme/gated"
            assert (await caller.chat("acme/hidden")).refusal == NOT_FOUND
            before = len(harness.hub.requests)
            refused = await caller.chat("elsewhere/model", token=own)
            assert refused.refusal == (403, "model_not_allowed")
            assert len(harness.hub.requests) == before


async def test_api_keys_stand_before_everything_but_health(harness: Harness) -> None:
    model = harness.model("acme/kept")
    keys = [secrets.token_hex(16) for _ in range(2)]
    with harness.worker(API_KEYS=",".join(keys)) as worker:
        async with calling(worker.url) as caller:
            for wrong in ("", secrets.token_hex(16), harness.hub.add_account("acme")):
                answer = await caller.chat(model, key=wrong)
                assert answer.refusal == (401, "invalid_api_key")
            assert (await caller.get("/v1/models")).refusal == (401, "invalid_api_key")
            assert (await caller.get("/ping")).status in (200, 204)
            assert not harness.journal.events("start", model)

            salts = []
            for key in (*keys, keys[0]):
                assert (await caller.chat(model, key=key)).text == f"I am {model}"
                body = harness.journal.events("request", model)[-1]["body"]
                salts.append(body["cache_salt"])
            assert salts[0] == salts[2] != salts[1]


async def test_without_the_hub_only_what_was_just_allowed_goes_on(harness: Harness) -> None:
    token, earlier = harness.hub.add_account("acme"), harness.hub.add_account("acme")
    with harness.worker(MAX_LOADED_MODELS="2") as worker:
        async with calling(worker.url) as caller:
            # What is allowed is so for a minute. On a slow machine, starts would use it up.
            for name in ("acme/hidden", "acme/open"):
                assert (await caller.chat(name, token=earlier)).status == 200
            assert (await caller.chat("acme/hidden", token=token)).status == 200
            assert (await caller.chat("acme/open")).status == 200
            harness.hub.faults.add("/(?!cdn/).*", "503", times=None)
            try:
                assert (await caller.chat("acme/hidden", token=token)).status == 200
                other = harness.hub.add_account("acme")
                refused = await caller.chat("acme/hidden", token=other)
                assert refused.refusal == (503, "hub_unavailable")
                assert int(refused.headers["Retry-After"]) > 0
                public = await caller.chat("acme/open", token=other)
                assert public.text == "I am acme/open"  # it was public when last checked
            finally:
                harness.hub.faults.clear()


async def test_a_former_name_leads_to_the_engine_of_the_new_one(
    harness: Harness, caller: Caller
) -> None:
    old, new = harness.model("acme/before"), "acme/after"
    harness.hub.rename(old, new)
    assert (await caller.chat(old)).text == f"I am {new}"
    assert (await caller.chat(new)).text == f"I am {new}"
    await eventually(lambda: len(harness.journal.events("request", new)) == 2)
    assert len(harness.journal.events("start", new)) == 1
