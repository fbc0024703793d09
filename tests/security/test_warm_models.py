"""A model is loaded for its users. Callers that may not use it request it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from router.requests.routes import ROUTES
from tests.e2e_runpod.harness import QueueHarness
from tests.security.harness import Client, Seen, Site, site
from tests.security.traces import Call, calls

# A private name and a missing name of the same length, so that the length tells nothing.
HIDDEN, ABSENT = "acme/Hidden", "acme/Absent"
FORMER, NEVER = "acme/Former", "acme/Lapsed"  # former names of HIDDEN, and of no model
GATED, FORMERLY_GATED = "acme/Gated", "acme/Opened"
HOUSE, ALIAS = "acme/House", "the-house-model"  # private, and the operator's

CONFIG = f"[{{model: {HOUSE}, aliases: [{ALIAS}], token_env: HOUSE_TOKEN}}]"

BAD_TOKEN, NOT_FOUND = "invalid_hf_token", "model_not_found"


@dataclass(frozen=True)
class Warm:
    """All models, loaded: their commits and tokens."""

    site: Site
    owner: str
    commits: dict[str, str]

    def bearer(self, kind: str) -> str | None:
        """A new token about which nothing is remembered."""
        hub = self.site.harness.hub
        if kind == "none":
            return None
        if kind == "unknown":
            return "hf_" + secrets.token_hex(17)
        token = hub.add_account("stranger" if kind == "stranger" else "acme")
        if kind == "expired":
            hub.expire(token)
        if kind == "unscoped":
            hub.restrict(token)
        return token


@pytest.fixture(scope="module")
def commits(harness: QueueHarness) -> dict[str, str]:
    for name in (HOUSE, FORMER):
        harness.model(name, private=True)
    harness.model(FORMERLY_GATED, gated=True)
    harness.hub.rename(FORMER, HIDDEN)
    harness.hub.rename(FORMERLY_GATED, GATED)
    # A new commit with the same content, for its hash.
    return {name: harness.hub.commit(name, {}) for name in (HIDDEN, GATED, HOUSE)}


@pytest.fixture(scope="module", params=["http", "queue"])
def warm(
    request: pytest.FixtureRequest, harness: QueueHarness, commits: dict[str, str]
) -> Iterator[Warm]:
    own, owner = (harness.hub.add_account("acme") for _ in range(2))
    environ = {"MODELS_CONFIG": CONFIG, "HOUSE_TOKEN": own, "MAX_LOADED_MODELS": "3"}
    with site(harness, request.param, **environ) as place:
        yield Warm(place, owner, commits)


@pytest.fixture
async def client(warm: Warm) -> AsyncIterator[Client]:
    async with warm.site.client() as client:
        models = (HIDDEN, GATED, HOUSE)
        answers = await asyncio.gather(*(client.chat(name, warm.owner) for name in models))
        assert [answer.text for answer in answers] == [f"I am {name}" for name in models]
        yield client


async def everywhere(client: Client, name: str, token: str | None) -> list[Seen]:
    asked = [client.ask(route, {"model": name}, token) for route in ROUTES]
    return await asyncio.gather(*asked, client.look(name, token))


def refusals(seen: list[Seen]) -> set[str]:
    return {one.code for one in seen}


def refusal(code: str) -> set[str]:
    """The code on most routes, or on /v1/messages the type: Anthropic's form has no code."""
    return {code, ANTHROPIC_TYPES[code]}


ANTHROPIC_TYPES = {
    NOT_FOUND: "not_found_error",
    BAD_TOKEN: "authentication_error",
    "model_gated": "permission_error",
    "hf_token_scope": "permission_error",
}


PRIVATE_TO = {
    "none": NOT_FOUND,
    "stranger": NOT_FOUND,
    "unscoped": NOT_FOUND,
    "unknown": BAD_TOKEN,
    "expired": BAD_TOKEN,
}
GATED_TO = PRIVATE_TO | {
    "none": "model_gated",
    "stranger": "model_gated",
    "unscoped": "hf_token_scope",
}


@pytest.mark.parametrize("bearer", PRIVATE_TO)
@pytest.mark.parametrize(
    ("hidden", "absent"),
    [
        (HIDDEN, ABSENT),
        (HIDDEN.upper(), ABSENT.upper()),
        (FORMER, NEVER),
        (HIDDEN + "@main", ABSENT + "@main"),
        (HIDDEN + "@COMMIT", ABSENT + "@COMMIT"),
        (FORMER + "@COMMIT", NEVER + "@COMMIT"),
    ],
    ids=["name", "case", "former", "branch", "commit", "former commit"],
)
async def test_a_private_model_is_to_others_as_one_that_is_not_there(
    warm: Warm, client: Client, hidden: str, absent: str, bearer: str
) -> None:
    commit = warm.commits[HIDDEN]

    async def look(name: str) -> tuple[list[str], list[Call]]:
        asked = name.replace("COMMIT", commit)
        token, before = warm.bearer(bearer), len(warm.site.harness.hub.requests)
        seen = await everywhere(client, asked, token)
        assert refusals(seen) == refusal(PRIVATE_TO[bearer])
        repo = asked.partition("@")[0]
        shown = [one.without(repo) for one in seen]
        return shown, calls(warm.site.harness, before, repo)

    with warm.site.untouched():
        assert await look(hidden) == await look(absent)


@pytest.mark.parametrize("bearer", GATED_TO)
async def test_a_gate_stays_shut_under_every_name_of_the_model(
    warm: Warm, client: Client, bearer: str
) -> None:
    commit = warm.commits[GATED]
    names = [GATED, GATED.lower(), FORMERLY_GATED, f"{GATED}@{commit}", f"{GATED}@main"]
    token = warm.bearer(bearer)
    with warm.site.untouched():
        for name in names:
            assert refusals(await everywhere(client, name, token)) == refusal(GATED_TO[bearer])


@pytest.mark.parametrize("bearer", ["stranger", "unscoped", "unknown", "expired"])
async def test_the_operators_grant_is_not_for_a_token_that_the_hub_refuses(
    warm: Warm, client: Client, bearer: str
) -> None:
    token = warm.bearer(bearer)
    with warm.site.untouched():
        for name in (HOUSE, ALIAS):
            assert refusals(await everywhere(client, name, token)) == refusal(
                PRIVATE_TO[bearer]
            )


async def test_the_list_of_models_is_for_each_caller_another(
    warm: Warm, client: Client
) -> None:
    async def listed(token: str | None) -> list[str]:
        return [model["id"] for model in (await client.look("", token)).content["data"]]

    assert sorted(await listed(warm.owner)) == sorted([ALIAS, HIDDEN, GATED])
    for kind in ("none", "stranger", "unscoped", "unknown"):
        assert await listed(warm.bearer(kind)) == [ALIAS]


async def test_who_may_gets_the_one_engine_under_every_name(warm: Warm, client: Client) -> None:
    names = [HIDDEN.lower(), FORMER, f"{HIDDEN}@{warm.commits[HIDDEN]}", f"{FORMER}@main"]
    for name in names:
        assert (await client.chat(name, warm.owner)).text == f"I am {HIDDEN}"
    assert len(warm.site.harness.journal.events("start", HIDDEN)) <= 2  # one for each client
