"""The operator's grants: which callers the worker's own token serves, on each way in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.e2e_runpod.harness import QueueHarness
from tests.eventually import eventually
from tests.security.harness import Site, site

# The operator's models (HALL has its own token), and other owners'. All are private.
HOUSE, HALL, OTHER = "acme/House", "guild/Hall", "acme/Other"
CONFIG = f"[{{model: {HOUSE}, aliases: [house]}}, {{model: {HALL}, token_env: HALL_TOKEN}}]"

NOT_FOUND = "model_not_found"

Tokens = Mapping[str, str | None]


@dataclass(frozen=True)
class Place:
    """`known`: a proxy in front of the worker authenticates the callers."""

    known: bool
    kind: str = "http"
    key: str = ""
    anybody: bool = True  # other machines can reach it
    runpod: tuple[str, ...] = ()

    def environ(self) -> dict[str, str]:
        host = {"HOST": "0.0.0.0"} if self.anybody else {}
        key = {"API_KEYS": self.key} if self.key else {}
        return {**host, **key, **dict.fromkeys(self.runpod, "x")}


PLACES = {
    "loopback": Place(known=True, anybody=False),
    "open port": Place(known=False),
    "Pod": Place(known=False, runpod=("RUNPOD_POD_ID",)),
    "API keys": Place(known=True, key=secrets.token_hex(16)),
    "load balancer": Place(known=True, runpod=("RUNPOD_POD_ID", "RUNPOD_ENDPOINT_ID")),
    "queue": Place(known=True, kind="queue"),
}


@pytest.fixture(scope="module")
def tokens(harness: QueueHarness) -> Tokens:
    """Tokens, by owner."""
    for name in (HOUSE, HALL, OTHER):
        harness.model(name, private=True)
    accounts = ("acme", "guild", "stranger")
    return {who: harness.hub.add_account(who) for who in accounts} | {"nobody": None}


@pytest.fixture(scope="module", params=[*PLACES.values()], ids=[*PLACES])
def place(request: pytest.FixtureRequest) -> Place:
    chosen: Place = request.param
    return chosen


@pytest.fixture(scope="module")
def worker(harness: QueueHarness, tokens: Tokens, place: Place) -> Iterator[Site]:
    environ = place.environ() | {
        "MODELS_CONFIG": CONFIG,
        "HF_TOKEN": harness.hub.add_account("acme"),
        "HALL_TOKEN": harness.hub.add_account("guild"),
        "MAX_LOADED_MODELS": "3",
    }
    with site(harness, place.kind, place.key, **environ) as worker:
        yield worker


async def outcomes(worker: Site, model: str, tokens: Tokens) -> dict[str, str]:
    async with worker.client() as client:
        seen = {who: await client.chat(model, token) for who, token in tokens.items()}
    return {who: one.code or one.text for who, one in seen.items()}


def granted(model: str, *to: str, among: Tokens) -> dict[str, str]:
    return {who: f"I am {model}" if who in to else NOT_FOUND for who in among}


@pytest.mark.parametrize(
    ("name", "model", "owner"),
    [(HOUSE, HOUSE, "acme"), ("house", HOUSE, "acme"), (HALL, HALL, "guild")],
    ids=["by id", "by alias", "with a token of its own"],
)
async def test_an_operators_model_is_for_who_brings_no_token_or_a_right_one(
    worker: Site, tokens: Tokens, name: str, model: str, owner: str
) -> None:
    expected = granted(model, "nobody", owner, among=tokens)
    assert await outcomes(worker, name, tokens) == expected


async def test_the_workers_token_serves_further_models_where_callers_are_known(
    worker: Site, place: Place, tokens: Tokens
) -> None:
    served = ("acme", "nobody") if place.known else ("acme",)
    assert await outcomes(worker, OTHER, tokens) == granted(OTHER, *served, among=tokens)


async def test_a_commit_of_an_operators_model_is_not_what_the_operator_granted(
    worker: Site, place: Place, tokens: Tokens
) -> None:
    commit = worker.harness.hub.commit(HOUSE, {}, "refs/pr/1")
    for revision in ("refs/pr/1", commit):
        served = ("acme", "nobody") if place.known else ("acme",)
        found = await outcomes(worker, f"{HOUSE}@{revision}", tokens)
        assert found == granted(HOUSE, *served, among=tokens)


async def test_the_log_says_which_models_the_workers_token_serves(
    worker: Site, place: Place
) -> None:
    models = "all models" if place.known else "only the operator's models"
    await eventually(lambda: f"HF_TOKEN serves {models}: " in worker.worker.log)
