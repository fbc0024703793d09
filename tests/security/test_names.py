"""Names and paths that mean one thing to a check and another to the code that uses them.

Each is sent with the owner's token and for a loaded model, so only the name is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import orjson
import pytest
import yarl

from tests.e2e_runpod.harness import QueueHarness
from tests.security.harness import Client, Site, site

HIDDEN = "acme/Hidden"

Send = Callable[[str, str], Awaitable[str]]  # method and path -> the refusal's code

NAMES = [
    # the Hub would read a query, a fragment or another path
    *("acme/Hidden?", "acme/Hidden?x=1", "acme/Hidden#", "acme/Hidden#x", "acme/Hidden%3f"),
    *("acme%2fHidden", "acme%2FHidden", "acme%252fHidden", "acme/%48idden", "acme/Hidden%00"),
    *("acme/../acme/Hidden", "../acme/Hidden", "acme/./Hidden", "./acme/Hidden", "acme/.."),
    *("acme//Hidden", "/acme/Hidden", "acme/Hidden/", "//acme/Hidden", "acme\\Hidden"),
    *("acme/Hidden/resolve/main/config.json", "api/models/acme/Hidden", "acme/Hidden.git"),
    "acme/Hidden;x",
    # with a revision
    *("acme/Hidden@", "acme/Hidden@?", "acme/Hidden@main?x", "acme/Hidden@main#", "@main"),
    *("acme/Hidden@..", "acme/Hidden@a/../b", "acme/Hidden@main%2f", "acme/Hidden@@main"),
    *("acme/Hidden@/main", "acme/Hidden@main/", "acme/Hidden@a//b", "acme/Hidden@a.lock"),
    "acme/Hidden@" + "a" * 129,
    # for code that trims, folds or normalizes
    *(" acme/Hidden", "acme/Hidden ", "acme/Hidden\n", "acme/Hidden\r\nX: y", "\tacme/Hidden"),
    *("acme/Hidden\0", "acme/Hid\0den", "acme/Hid\u200bden", "acme/Hidden\u200d"),
    "\ufeffacme/Hidden",
    *("acme\uff0fHidden", "acme\u2044Hidden", "acme\u2215Hidden", "acme/Hidde\u0301n"),
    *("\u0430cme/Hidden", "acme/\u041didden", "\uff41cme/Hidden", "acme/H\u0131dden"),
    *("acme/Hidden\u202e", "acme/\u212aidden", "acme/Hidden\uff20main", "acme/Hidden\u2024git"),
    # for code that takes them as paths, addresses or folders
    *("/etc/passwd", "/", ".", "..", "~", "~/model", "C:\\model", "file:///etc/passwd"),
    *("https://huggingface.co/acme/Hidden", "hf://acme/Hidden", "s3://acme/Hidden"),
    *("models--acme--Hidden", "acme--Hidden", "acme/models--acme--Hidden", "Hidden", "acme"),
    *("$HOME/x", "acme/${HF_TOKEN}", "acme/$(id)", "acme/`id`", "acme/*", "*", "acme/Hid*"),
    *("-acme/Hidden", "acme/-Hidden", "--trust-remote-code"),
    *("a" * 97 + "/x", "acme/" + "x" * 97),
]  # fmt: skip

# Current and former routes of SGLang: each changes an engine, or reveals other callers' data.
FORBIDDEN = [
    *("/flush_cache", "/get_server_info", "/server_info", "/get_model_info", "/model_info"),
    *("/update_weights_from_disk", "/update_weights_from_tensor", "/get_weights_by_name"),
    *("/init_weights_update_group", "/update_weights_from_distributed"),
    "/update_weight_version",
    *("/release_memory_occupation", "/resume_memory_occupation", "/abort_request"),
    *("/pause_generation", "/continue_generation", "/set_internal_state", "/slow_down"),
    *("/load_lora_adapter", "/unload_lora_adapter", "/open_session", "/close_session"),
    *("/start_profile", "/stop_profile", "/start_expert_distribution_record", "/freeze_gc"),
    *("/configure_logging", "/get_load", "/v1/loads", "/health_generate"),
    *("/encode", "/classify", "/generate_from_file", "/parse_function_call", "/docs"),
    *("/v1/realtime", "/v1/audio/transcriptions", "/v1/completions/render"),
    *("/hicache/storage-backend", "/vertex_generate", "/invocations", "/api/generate"),
    *("/admin_v1", "/debug", "/tokenizer"),
    *("/v1/responses/x", "/v1/responses/x/cancel"),
]  # fmt: skip

# A proxy or a framework might fold these into an existing route.
PATHS = [
    *("/v1/models/acme/Hidden%3f", "/v1/models/acme/Hidden%23x", "/v1/models/acme%252fHidden"),
    *("/v1/models/acme/../acme/Hidden", "/v1/models/./acme/Hidden", "/v1/models//acme/Hidden"),
    *("/v1/models/%2e%2e/acme/Hidden", "/v1/models/acme/Hidden%00"),
    "/v1/models/acme/Hidden%0a",
    *("/v1/models/acme/Hidden/", "/v1/models/acme%ef%bc%8fHidden"),
    "/v1/models/acme/Hidde%CC%81n",
    "/v1/models%2f..%2f..%2fflush_cache",
    *("/v1/models/acme/%C3%28", "/v1/models/acme/%ff", "/v1/models/acme/Hid%E2%80%8Bden"),
]  # fmt: skip
ROUTES = [
    *("/v1/../flush_cache", "/generate/../flush_cache", "/generate/", "//generate"),
    "/GENERATE",
    *("/generate%2f..%2fflush_cache", "/generate%3fx", "/v1/chat/completions/", "/v1//models"),
    *("/v1/chat%2fcompletions%00", "/%67enerate/x"),
    *("/.", "/..", "/%2e%2e/flush_cache"),
]  # fmt: skip


@pytest.fixture(scope="module")
def owner(harness: QueueHarness) -> str:
    harness.model(HIDDEN, private=True)
    return harness.hub.add_account("acme")


@pytest.fixture(scope="module", params=["http", "queue"])
def place(request: pytest.FixtureRequest, harness: QueueHarness, owner: str) -> Iterator[Site]:
    with site(harness, request.param) as place:
        yield place


@pytest.fixture
async def client(place: Site, owner: str) -> AsyncIterator[Client]:
    async with place.client() as client:
        assert (await client.chat(HIDDEN, owner)).text == f"I am {HIDDEN}"
        yield client


@contextmanager
def unheard(place: Site) -> Iterator[None]:
    """Check that during the block neither an engine nor the Hub gets a request."""
    before = len(place.harness.hub.requests)
    with place.untouched():
        yield
    assert len(place.harness.hub.requests) == before


async def test_what_is_not_strictly_a_name_goes_no_further(
    place: Site, client: Client, owner: str
) -> None:
    with unheard(place):
        answers = await asyncio.gather(*(client.chat(name, owner) for name in NAMES))
        codes = {name: seen.code for name, seen in zip(NAMES, answers, strict=True)}
        assert codes == dict.fromkeys(NAMES, "invalid_model_id")


async def test_an_engines_own_routes_are_not_there(
    place: Site, client: Client, owner: str
) -> None:
    body = {"model": HIDDEN, "text": "x"}
    with unheard(place):
        answers = await asyncio.gather(*(client.ask(path, body, owner) for path in FORBIDDEN))
        codes = {path: seen.code for path, seen in zip(FORBIDDEN, answers, strict=True)}
        # A job may omit /v1: then it is the router's own route, and not for this model.
        assert codes["/classify"] in ("route_not_found", "wrong_endpoint")
        others = codes.keys() - {"/classify"}
        assert {codes[path] for path in others} == {"route_not_found"}


@pytest.mark.parametrize("place", ["http"], indirect=True)
class TestPaths:
    """The paths are sent as written. No client normalizes them."""

    @pytest.fixture
    async def send(self, place: Site, client: Client, owner: str) -> AsyncIterator[Send]:
        headers = {"X-HF-Token": owner, "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session:

            async def send(method: str, path: str) -> str:
                url = yarl.URL(place.worker.url + path, encoded=True)
                data = orjson.dumps({"model": HIDDEN, "text": "x"})
                async with session.request(method, url, data=data) as response:
                    code: str = (await response.json())["error"]["code"]
                    return code

            yield send

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def test_no_route_is_there_for_another_method(
        self, place: Site, send: Send, method: str
    ) -> None:
        with unheard(place):
            for path in FORBIDDEN:
                assert await send(method, path) == "route_not_found", path

    async def test_a_name_in_a_path_is_no_laxer_than_one_in_a_body(
        self, place: Site, send: Send
    ) -> None:
        with unheard(place):
            for path in PATHS:
                assert await send("GET", path) == "model_not_found", path

    async def test_no_path_is_folded_into_a_route(self, place: Site, send: Send) -> None:
        with unheard(place):
            for path in ROUTES:
                assert await send("POST", path) == "route_not_found", path
