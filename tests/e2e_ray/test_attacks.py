"""Attacks by hostile callers at an ingress, with the names, paths and bodies of the attacks on
a single worker."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import aiohttp
import orjson
import pytest

from tests.e2e.caller import CHAT, Caller, chat
from tests.e2e.harness import ENDLESS, Harness
from tests.e2e_ray.fleet import RayFleet
from tests.eventually import eventually
from tests.security.test_names import FORBIDDEN, HIDDEN, NAMES

pytestmark = pytest.mark.long

KEY = "key-" + "k" * 20


@pytest.fixture(scope="module")
def fleet(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayFleet]:
    environ = {"API_KEYS": f"{KEY},another-{KEY}", "MAX_BODY_BYTES": "1MiB"}
    with RayFleet(tmp_path_factory.mktemp("fleet"), harness.hub, environ=environ) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def owner(harness: Harness) -> str:
    harness.model(HIDDEN, private=True)
    return harness.hub.add_account("acme")


def headers(token: str | None = None, key: str = KEY) -> dict[str, str]:
    own = {} if token is None else {"X-HF-Token": token}
    return {"Authorization": f"Bearer {key}", **own}


async def test_nobody_is_served_without_a_key(caller: Caller, owner: str) -> None:
    for key in ("", "wrong", KEY[:-1]):
        answer = await caller.post(CHAT, chat(HIDDEN), headers(owner, key))
        assert answer.refusal == (401, "invalid_api_key")
    assert (await caller.get("/v1/models")).status == 401


async def test_a_key_reaches_the_replica_as_its_caller(caller: Caller, owner: str) -> None:
    for key in (KEY, f"another-{KEY}"):
        answer = await caller.post(CHAT, chat(HIDDEN), headers(owner, key))
        assert answer.text == f"I am {HIDDEN}"


async def test_a_name_that_is_none_reaches_nothing(
    harness: Harness, caller: Caller, owner: str
) -> None:
    assert (await caller.post(CHAT, chat(HIDDEN), headers(owner))).text == f"I am {HIDDEN}"
    asked = len(harness.hub.requests)
    for name in NAMES:
        answer = await caller.post(CHAT, chat(name), headers(owner))
        assert answer.status in (400, 403, 404), name
        assert HIDDEN not in answer.body.decode() or HIDDEN in name, name
    strange = {one.path for one in harness.hub.requests[asked:] if "Hidden" in one.path}
    assert not {path for path in strange if "?" in path or ".." in path}


async def test_an_engines_own_routes_are_not_there(caller: Caller, owner: str) -> None:
    for path in FORBIDDEN:
        answer = await caller.post(path, {"model": HIDDEN}, headers(owner))
        assert answer.refusal == (404, "route_not_found"), path


async def test_the_operators_routes_are_not_there(caller: Caller) -> None:
    for path in ("/metrics", "/admin/state", "/ui", "/-/routes", "/-/healthz", "/api/serve"):
        assert (await caller.get(path, **headers())).status in (401, 404), path


async def test_private_and_missing_cannot_be_told_apart(
    harness: Harness, caller: Caller, other: Caller, owner: str
) -> None:
    """Even while the private model is loaded, and even by the requests to the Hub."""
    assert (await caller.post(CHAT, chat(HIDDEN), headers(owner))).status == 200
    stranger = harness.hub.add_account("stranger")
    for one in (caller, other):
        seen = []
        for name in (HIDDEN, "acme/Nobody"):
            since = len(harness.hub.requests)
            answers = [
                await one.post(CHAT, chat(name), headers(stranger)),
                await one.get(f"/v1/models/{name}", **headers(stranger)),
            ]
            asked = [
                (request.method, request.path.replace(name, "MODEL"))
                for request in harness.hub.requests[since:]
            ]
            told = [(a.status, a.body.decode().replace(name, "MODEL")) for a in answers]
            seen.append((told, asked))
        assert seen[0] == seen[1]
        listed = await one.get("/v1/models", **headers(stranger))
        assert HIDDEN not in listed.body.decode()


async def test_a_token_that_is_revoked_ends_at_the_ingress_and_at_the_replica(
    harness: Harness, caller: Caller, owner: str
) -> None:
    leaver = harness.hub.add_account("acme")
    harness.hub.expire(leaver)
    answer = await caller.post(CHAT, chat(HIDDEN), headers(leaver))
    assert answer.refusal == (401, "invalid_hf_token")


async def test_a_body_has_bounds(caller: Caller, owner: str) -> None:
    large = io.BytesIO(orjson.dumps(chat(HIDDEN, user="x" * (2 << 20))))
    json_headers = {"Content-Type": "application/json", **headers(owner)}
    answer = await caller.send("POST", CHAT, large, json_headers)
    assert answer.refusal == (413, "body_too_large")
    deep = b'{"model":"acme/Hidden","messages":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for body in (deep, b"{", b"[]", b"\xff" * 10):
        answer = await caller.send("POST", CHAT, body, json_headers)
        assert answer.status == 400
    for field in ("rid", "lora_path", "custom_logit_processor", "bootstrap_host"):
        answer = await caller.post(CHAT, chat(HIDDEN, **{field: "x"}), headers(owner))
        assert answer.status in (200, 400), field


async def test_a_web_page_elsewhere_is_refused(caller: Caller, owner: str) -> None:
    for strange in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        answer = await caller.post(CHAT, chat(HIDDEN), {**headers(owner), **strange})
        assert answer.status in (403, 421), strange


async def test_callers_that_leave_leave_nothing_behind(
    harness: Harness, fleet: RayFleet, owner: str
) -> None:
    slow = harness.model("acme/slow", **ENDLESS)
    async with aiohttp.ClientSession() as session:

        async def leave() -> None:
            url = fleet.urls[0] + CHAT
            body = chat(slow, stream=True)
            async with session.post(url, json=body, headers=headers()) as response:
                await response.content.readuntil(b"data:")  # the engine answers
                response.close()

        await asyncio.gather(*(leave() for _ in range(20)))
    await eventually(lambda: len(harness.journal.events("cancelled", slow)) == 20)


async def test_nothing_of_ray_takes_work_from_strangers(fleet: RayFleet) -> None:
    """Access to Ray's ports means running any code: without its token, they must refuse
    everything."""
    script = f"import ray; ray.init(address={fleet.address!r}); print('in')"
    outcomes = []
    for token in (None, "0" * 64, fleet.environ["RAY_AUTH_TOKEN"]):
        environ = {"PATH": fleet.environ["PATH"], "HOME": "/nonexistent"}
        if token is not None:
            environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        outcomes.append(await fleet.run_python(script, environ))
    assert outcomes == [False, False, True]


def test_rays_directory_is_closed_to_other_users(fleet: RayFleet) -> None:
    """Access to its sockets means access to its object store."""
    assert fleet.place.is_relative_to("/tmp")
    assert fleet.place.parent.stat().st_mode & 0o077 == 0
