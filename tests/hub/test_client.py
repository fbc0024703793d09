"""The Hub's client and its cache, against a Hub on loopback."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web

from router.errors import (
    HfTokenScope,
    HubUnavailable,
    InvalidHfToken,
    InvalidModelId,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RevisionNotFound,
    RouterError,
    UnsupportedModel,
)
from router.hub.client import HuggingFaceHub
from router.hub.small_file import MAX_REDIRECTS
from router.models import Access, ModelRef, ResolvedModel, Task
from router.secrets import Token
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.repositories import Review

CONFIG = {"config.json": b"{}"}
LLAMA = {"config.json": b'{"architectures": ["LlamaForCausalLM"]}', "model.safetensors": b"x"}


@pytest.fixture
def server() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
async def hub(server: LoopbackHub) -> AsyncIterator[HuggingFaceHub]:
    hub = HuggingFaceHub(server.endpoint, ca_file=str(server.ca_file), timeout=60.0)
    yield hub
    await hub.close()


def account(server: LoopbackHub, name: str) -> Token:
    return Token(server.add_account(name))


def an_unknown_token() -> Token:
    return Token("hf_" + secrets.token_hex(16))


async def test_a_name_resolves_to_the_hubs_own_spelling_and_commit(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    commit = server.add_repo("Org/Model", LLAMA)
    model = await hub.resolve(ModelRef.parse("oRG/model"), None)
    assert model == ResolvedModel("Org/Model", commit, Task.GENERATE, Access.PUBLIC)


async def test_a_renamed_model_resolves_to_its_new_name(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    commit = server.add_repo("org/old", LLAMA)
    server.rename("org/old", "new/name")
    model = await hub.resolve(ModelRef("org/old"), None)
    assert (model.repo_id, model.commit) == ("new/name", commit)


async def test_a_revision_is_one_segment_of_the_address(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/model", LLAMA)
    pull = server.commit("org/model", {"x.txt": b"x"}, branch="refs/pr/1")
    first = await hub.resolve(ModelRef.parse("org/model@refs/pr/1"), None)
    pinned = await hub.resolve(ModelRef("org/model", pull), None)
    assert first.commit == pinned.commit == pull


@pytest.mark.parametrize(
    ("files", "task"),
    [
        (LLAMA, Task.GENERATE),
        (CONFIG, Task.GENERATE),
        ({**LLAMA, "modules.json": b"[]"}, Task.EMBED),
        ({**LLAMA, "1_Pooling/config.json": b"{}"}, Task.EMBED),
        ({**LLAMA, "config_sentence_transformers.json": b"{}"}, Task.EMBED),
        (
            {"config.json": b'{"architectures": ["BertForSequenceClassification"]}'},
            Task.CLASSIFY,
        ),
        ({"config.json": b'{"architectures": ["InternLM2ForRewardModel"]}'}, Task.CLASSIFY),
        (
            {"config.json": b'{"architectures": [1, "XForSequenceClassification"]}'},
            Task.CLASSIFY,
        ),
        ({"config.json": b'{"architectures": 5}'}, Task.GENERATE),
    ],
)
async def test_the_task_is_read_from_the_repository(
    server: LoopbackHub, hub: HuggingFaceHub, files: dict[str, bytes], task: Task
) -> None:
    server.add_repo("org/model", files)
    assert (await hub.resolve(ModelRef("org/model"), None)).task is task


async def test_a_public_model_is_for_everybody(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/model", LLAMA)
    model = await hub.resolve(ModelRef("org/model"), None)
    await hub.entitle(model, None)
    await hub.entitle(model, account(server, "ann"))


async def test_a_gated_model_resolves_for_all_and_is_for_those_accepted(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/gated", LLAMA, gated="manual")
    ann, bob = account(server, "ann"), account(server, "bob")
    server.accept("org/gated", "ann")
    model = await hub.resolve(ModelRef("org/gated"), None)
    assert model.access is Access.GATED
    await hub.entitle(model, ann)
    for credential in (bob, None):
        with pytest.raises(ModelGated, match=f"{server.endpoint}/org/gated"):
            await hub.entitle(model, credential)


@pytest.mark.parametrize(
    ("state", "words"),
    [("pending", "awaiting a review.*try again"), ("rejected", "rejected.*another account")],
)
async def test_an_account_is_told_what_became_of_its_request_for_access(
    server: LoopbackHub, hub: HuggingFaceHub, state: Review, words: str
) -> None:
    server.add_repo("org/gated", LLAMA, gated="manual")
    bob, eve = account(server, "bob"), account(server, "eve")
    server.review("org/gated", "bob", state)
    model = await hub.resolve(ModelRef("org/gated"), None)
    with pytest.raises(ModelGated, match=f"{words}.*{server.endpoint}/org/gated"):
        await hub.entitle(model, bob)
    for credential in (eve, None):
        with pytest.raises(ModelGated, match=r"ask for access"):
            await hub.entitle(model, credential)
    server.accept("org/gated", "bob")
    await hub.entitle(model, bob)


async def test_a_private_model_is_for_its_members(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("ann/private", LLAMA, private=True)
    ann = account(server, "ann")
    model = await hub.resolve(ModelRef("ann/private"), ann)
    assert model.access is Access.PRIVATE
    await hub.entitle(model, ann)
    with pytest.raises(ModelNotFound):
        await hub.entitle(model, account(server, "bob"))
    with pytest.raises(ModelNotFound):
        await hub.entitle(model, None)


async def test_a_private_model_and_a_missing_one_can_not_be_told_apart(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("ann/secret", LLAMA, private=True)
    scoped = account(server, "ann")
    server.restrict(scoped.reveal())
    for credential in (None, account(server, "bob"), scoped):
        answers, requests = [], []
        for name in ("secret", "absent"):
            del server.requests[:]
            with pytest.raises(ModelNotFound) as caught:
                await hub.resolve(ModelRef(f"ann/{name}"), credential)
            answers.append(str(caught.value).replace(name, "*"))
            requests.append(
                [(r.method, r.path.replace(name, "*"), r.account) for r in server.requests]
            )
        assert answers[0] == answers[1]
        assert requests[0] == requests[1]


async def test_an_invalid_token_is_refused_even_for_a_public_model(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/model", LLAMA)
    model = await hub.resolve(ModelRef("org/model"), None)
    expired = account(server, "ann")
    server.expire(expired.reveal())
    for credential in (an_unknown_token(), expired):
        with pytest.raises(InvalidHfToken):
            await hub.resolve(ModelRef("org/model"), credential)
        with pytest.raises(InvalidHfToken):
            await hub.entitle(model, credential)


async def test_a_missing_scope_is_reported_if_the_model_is_no_secret(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    commit = server.add_repo("org/gated", LLAMA, gated="auto")
    server.accept("org/gated", "ann")
    scoped = account(server, "ann")
    server.restrict(scoped.reveal())
    gated = await hub.resolve(ModelRef("org/gated"), scoped)
    with pytest.raises(HfTokenScope):
        await hub.entitle(gated, scoped)
    private = ResolvedModel("org/gated", commit, access=Access.PRIVATE)
    with pytest.raises(ModelNotFound, match="fine-grained"):
        await hub.entitle(private, scoped)


async def test_a_disabled_model_says_so(server: LoopbackHub, hub: HuggingFaceHub) -> None:
    server.add_repo("org/model", LLAMA)
    model = await hub.resolve(ModelRef("org/model"), None)
    server.disable("org/model")
    with pytest.raises(ModelDisabled):
        await hub.resolve(ModelRef("org/model"), None)
    with pytest.raises(ModelDisabled):
        await hub.entitle(model, None)


async def test_a_missing_revision_says_so(server: LoopbackHub, hub: HuggingFaceHub) -> None:
    server.add_repo("org/model", LLAMA)
    model = await hub.resolve(ModelRef("org/model"), None)
    with pytest.raises(RevisionNotFound, match="has no revision v9"):
        await hub.resolve(ModelRef("org/model", "v9"), None)
    with pytest.raises(RevisionNotFound):
        await hub.entitle(replace(model, commit="0" * 40), None)


async def test_an_adapter_may_have_its_own_configuration_alone(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    token = Token(server.add_account("org"))
    files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}
    server.add_repo("org/adapter", files, private=True)
    model = await hub.resolve(ModelRef("org/adapter"), token)
    await hub.entitle(model, token)
    with pytest.raises(ModelNotFound):
        await hub.entitle(model, None)
    with pytest.raises(ModelNotFound):
        await hub.entitle(model, Token(server.add_account("stranger")))


async def test_a_repository_without_a_configuration_is_unsupported(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/adapter", {"adapter_model.safetensors": b"x"})
    model = await hub.resolve(ModelRef("org/adapter"), None)
    with pytest.raises(UnsupportedModel, match=r"config\.json"):
        await hub.entitle(model, None)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("429", ""),
        ("500", "it answers 500"),
        ("503", "it answers 503"),
        ("hang", "no answer within 1 s"),
        ("cut", "no connection (RemoteProtocolError)"),
        ("reset", "no connection (ReadError)"),
    ],
)
async def test_a_hub_in_trouble_is_unavailable(
    server: LoopbackHub, hub: HuggingFaceHub, kind: str, cause: str
) -> None:
    server.add_repo("org/model", LLAMA)
    model = await hub.resolve(ModelRef("org/model"), None)
    server.faults.add(r"/.*", kind, times=None)  # type: ignore[arg-type]
    if kind == "hang":
        await hub.close()
        hub = HuggingFaceHub(server.endpoint, ca_file=str(server.ca_file), timeout=1.0)
    with pytest.raises(HubUnavailable) as caught:
        await hub.resolve(ModelRef("org/model"), None)
    assert caught.value.retry_after == (55.0 if kind == "429" else 5.0)
    assert caught.value.cause == cause
    with pytest.raises(HubUnavailable):
        await hub.entitle(model, None)
    await hub.close()


async def test_one_broken_connection_is_retried(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/model", LLAMA)
    server.faults.add(r"/api/.*", "reset", times=1)
    await hub.resolve(ModelRef("org/model"), None)


async def test_a_missing_hub_is_unavailable() -> None:
    hub = HuggingFaceHub("https://127.0.0.1:9", timeout=1.0)
    with pytest.raises(HubUnavailable):
        await hub.resolve(ModelRef("org/model"), None)
    await hub.close()


async def test_without_auth_check_the_file_decides(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.without_auth_check()
    server.add_repo("org/gated", LLAMA, gated="manual")
    ann = account(server, "ann")
    server.accept("org/gated", "ann")
    model = await hub.resolve(ModelRef("org/gated"), None)
    await hub.entitle(model, ann)
    with pytest.raises(ModelGated):
        await hub.entitle(model, account(server, "bob"))


async def test_a_file_on_the_cdn_proves_access_and_is_not_asked_there(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/model", {"config.json": b'{"x": "' + b"x" * 20_000 + b'"}'})
    model = await hub.resolve(ModelRef("org/model"), None)
    await hub.entitle(model, account(server, "ann"))
    assert server.requests[-1].status == 302
    assert not any(request.path.startswith("/cdn") for request in server.requests)


async def test_a_query_in_a_name_fails_before_and_in_the_url(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    commit = server.add_repo("org/gated", LLAMA, gated="manual")
    for name in ("org/gated?", "org/gated#", "org/gated/revision/main?", "org/gated%3F"):
        with pytest.raises(InvalidModelId):
            ModelRef.parse(name)
        with pytest.raises(RouterError):
            await hub.entitle(ResolvedModel(name, commit), None)


async def test_no_error_holds_the_token(server: LoopbackHub, hub: HuggingFaceHub) -> None:
    token = an_unknown_token()
    server.faults.add("/api/models/org/reset", "reset", times=None)
    for name in ("org/absent", "org/reset"):
        with pytest.raises(RouterError) as caught:
            await hub.resolve(ModelRef(name), token)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert token.reveal() not in str(caught.value)


@dataclass
class Stranger:
    """A server that is not a Hub, and the requests that it got."""

    answer: Callable[[web.BaseRequest], web.Response]
    sent: list[web.BaseRequest] = field(default_factory=list)
    url: str = ""

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.sent.append(request)
        return self.answer(request)


@asynccontextmanager
async def serving(answer: Callable[[web.BaseRequest], web.Response]) -> AsyncIterator[Stranger]:
    stranger = Stranger(answer)
    runner = web.ServerRunner(web.Server(stranger), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stranger.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stranger
    finally:
        await runner.cleanup()


async def test_no_redirect_takes_the_token_to_another_origin() -> None:
    async with serving(lambda _: web.Response()) as other:

        def redirect(request: web.BaseRequest) -> web.Response:
            return web.Response(status=302, headers={"Location": other.url + request.path})

        async with serving(redirect) as stranger:
            hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
            with pytest.raises(HubUnavailable):
                await hub.resolve(ModelRef("org/model"), an_unknown_token())
            with pytest.raises(HubUnavailable):
                await hub.entitle(ResolvedModel("org/model", "a" * 40), an_unknown_token())
            await hub.close()
            assert len(stranger.sent) == 2
        assert not other.sent


async def test_redirects_are_limited() -> None:
    async with serving(
        lambda _: web.Response(status=307, headers={"Location": "/"})
    ) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        with pytest.raises(HubUnavailable):
            await hub.resolve(ModelRef("org/model"), None)
        await hub.close()
        assert len(stranger.sent) == MAX_REDIRECTS + 1


async def test_a_server_that_always_answers_200_proves_no_access() -> None:
    async with serving(lambda _: web.Response(text="please log in")) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        with pytest.raises(HubUnavailable, match="HF_ENDPOINT"):
            await hub.entitle(ResolvedModel("org/model", "a" * 40), None)
        with pytest.raises(HubUnavailable, match="HF_ENDPOINT"):
            await hub.resolve(ModelRef("org/model"), None)
        await hub.close()


async def test_no_cookie_of_one_caller_comes_with_anothers_request() -> None:
    def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=503, headers={"Set-Cookie": "session=ann; Path=/"})

    async with serving(answer) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        for credential in (an_unknown_token(), None):
            with pytest.raises(HubUnavailable):
                await hub.resolve(ModelRef("org/model"), credential)
        await hub.close()
        assert not any("Cookie" in request.headers for request in stranger.sent)


async def test_a_cancelled_request_leaves_the_client_usable(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    server.add_repo("org/model", LLAMA)
    server.faults.add(r"/api/.*", "hang", times=1)
    asking = asyncio.create_task(hub.resolve(ModelRef("org/model"), None))
    await eventually(lambda: server.requests)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await hub.resolve(ModelRef("org/model"), None)
