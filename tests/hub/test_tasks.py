"""The Hub's client finds a repository's task from its contents."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from router.errors import ModelGated, ModelNotFound
from router.hub.client import HuggingFaceHub
from router.hub.small_file import MAX_BYTES
from router.models import ModelRef, Task
from router.secrets import Token
from tests.hub.test_client import serving
from tests.loopback_hub import LoopbackHub

REF = ModelRef("org/model")
EMBEDS = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
SCORES = [
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
]
CUSTOM = ["custom_st.Transformer"]


@pytest.fixture
def server() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
async def hub(server: LoopbackHub) -> AsyncIterator[HuggingFaceHub]:
    hub = client(server, 60.0)
    yield hub
    await hub.close()


def client(server: LoopbackHub, patience: float) -> HuggingFaceHub:
    """Its patience is for small files alone."""
    return HuggingFaceHub(
        server.endpoint, ca_file=str(server.ca_file), timeout=60.0, patience=patience
    )


def layout(architecture: str, **files: object) -> dict[str, bytes]:
    return {
        "config.json": json.dumps({"architectures": [architecture]}).encode(),
        "model.safetensors": b"x",
        **{f"{name}.json": json.dumps(content).encode() for name, content in files.items()},
    }


def chain(types: list[str]) -> list[dict[str, object]]:
    return [{"idx": n, "name": str(n), "path": "", "type": t} for n, t in enumerate(types)]


def read_by(server: LoopbackHub) -> list[str]:
    return [r.path.rpartition("/")[2] for r in server.requests if "/resolve/" in r.path]


async def resolved(hub: HuggingFaceHub, credential: Token | None = None) -> Task:
    return (await hub.resolve(REF, credential)).task


@pytest.mark.parametrize(
    ("files", "task", "read"),
    [
        (layout("MistralModel"), Task.EMBED, []),
        (layout("BertModel"), Task.EMBED, []),
        (layout("CLIPModel"), Task.EMBED, []),
        (
            layout("BertForSequenceClassification", modules=chain(SCORES[:1])),
            Task.CLASSIFY,
            [],
        ),
        (
            layout("LlamaForSequenceClassificationWithNormal_Weights"),
            Task.CLASSIFY,
            [],
        ),
        (layout("WhisperForConditionalGeneration"), Task.TRANSCRIBE, []),
        (layout("Qwen3ForCausalLM"), Task.GENERATE, []),
        (
            layout("Qwen3ForCausalLM", modules=chain(EMBEDS))
            | {"1_Pooling/config.json": b"{}"},
            Task.EMBED,
            [],
        ),
        (
            layout("Qwen3ForCausalLM", modules=chain(SCORES))
            | {"1_LogitScore/config.json": b"{}"},
            Task.GENERATE,
            [],
        ),
        (layout("Qwen3ForCausalLM", modules=chain(EMBEDS)), Task.EMBED, ["modules.json"]),
        (layout("Qwen3ForCausalLM", modules=chain(SCORES)), Task.GENERATE, ["modules.json"]),
        (
            layout(
                "Qwen3ForCausalLM",
                modules=chain(CUSTOM),
                config_sentence_transformers={"model_type": "CrossEncoder"},
            ),
            Task.GENERATE,
            ["modules.json", "config_sentence_transformers.json"],
        ),
        (
            layout("Qwen2VLForConditionalGeneration", modules=chain(CUSTOM)),
            Task.EMBED,
            ["modules.json"],
        ),
    ],
)
async def test_what_a_model_is_for_is_told_by_its_architecture_and_its_modules(
    server: LoopbackHub,
    hub: HuggingFaceHub,
    files: dict[str, bytes],
    task: Task,
    read: list[str],
) -> None:
    server.add_repo("org/model", files)
    assert await resolved(hub) is task
    assert read_by(server) == read


async def test_the_modules_are_those_of_the_commit(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    commit = server.add_repo("org/model", layout("Qwen3ForCausalLM", modules=chain(SCORES)))
    server.commit("org/model", layout("Qwen3ForCausalLM", modules=chain(EMBEDS)))
    assert (await hub.resolve(ModelRef("org/model", commit), None)).task is Task.GENERATE
    assert await resolved(hub) is Task.EMBED


async def test_a_private_models_modules_are_read_with_its_callers_token(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    files = layout("Qwen3ForCausalLM", modules=chain(SCORES))
    server.add_repo("org/model", files, private=True)
    member = Token(server.add_account("org"))
    assert await resolved(hub, member) is Task.GENERATE
    del server.requests[:]
    with pytest.raises(ModelNotFound):
        await resolved(hub, Token(server.add_account("eve")))
    assert read_by(server) == []


async def test_a_gated_models_modules_stay_behind_its_gate(
    server: LoopbackHub, hub: HuggingFaceHub
) -> None:
    files = layout("Qwen3ForCausalLM", modules=chain(SCORES))
    server.add_repo("org/model", files, gated="manual")
    bob = Token(server.add_account("bob"))
    model = await hub.resolve(REF, bob)
    with pytest.raises(ModelGated):
        await hub.entitle(model, bob)
    server.accept("org/model", "bob")
    assert await resolved(hub, bob) is Task.GENERATE


@pytest.mark.parametrize("kind", ["429", "500", "hang", "cut", "reset"])
async def test_a_model_whose_modules_can_not_be_read_is_an_embedder(
    server: LoopbackHub, kind: str
) -> None:
    server.add_repo("org/model", layout("Qwen3ForCausalLM", modules=chain(SCORES)))
    server.faults.add(r"/org/model/resolve/.*", kind, times=None)  # type: ignore[arg-type]
    hub = client(server, 0.5 if kind == "hang" else 60.0)
    assert await resolved(hub) is Task.EMBED
    await hub.close()


@dataclass(frozen=True)
class OddHub:
    """Describes a model with modules, and serves them as `modules` says."""

    modules: Callable[[web.BaseRequest], web.Response]

    def __call__(self, request: web.BaseRequest) -> web.Response:
        if not request.path.startswith("/api/"):
            return self.modules(request)
        info = {
            "id": "org/model",
            "sha": "a" * 40,
            "config": {"architectures": ["Qwen3ForCausalLM"]},
            "siblings": [{"rfilename": "modules.json"}, {"rfilename": 5}],
        }
        return web.json_response(info)


def small(padding: int = 0) -> bytes:
    return json.dumps(chain(SCORES)).encode() + b" " * padding


@pytest.mark.parametrize(
    ("body", "task"), [(small(), Task.GENERATE), (small(MAX_BYTES), Task.EMBED)]
)
async def test_only_a_small_file_is_read(body: bytes, task: Task) -> None:
    async with serving(OddHub(lambda _: web.Response(body=body))) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        assert await resolved(hub) is task
        await hub.close()


async def test_a_compressed_file_is_not_read() -> None:
    def packed(_: web.BaseRequest) -> web.Response:
        return web.Response(body=small(), headers={"Content-Encoding": "identity"})

    async with serving(OddHub(packed)) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        assert await resolved(hub) is Task.EMBED
        await hub.close()


async def test_a_file_elsewhere_is_not_fetched_and_the_token_stays_home() -> None:
    async with serving(lambda _: web.Response(body=small())) as other:

        def redirect(request: web.BaseRequest) -> web.Response:
            return web.Response(status=302, headers={"Location": other.url + request.path})

        async with serving(OddHub(redirect)) as stranger:
            hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
            assert await resolved(hub, Token("hf_" + secrets.token_hex(16))) is Task.EMBED
            await hub.close()
        assert not other.sent


async def test_a_redirect_within_the_hub_is_followed() -> None:
    def moved(request: web.BaseRequest) -> web.Response:
        if request.path.startswith("/cache"):
            return web.Response(body=small())
        return web.Response(status=307, headers={"Location": "/cache" + request.path})

    async with serving(OddHub(moved)) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        assert await resolved(hub) is Task.GENERATE
        await hub.close()


async def test_redirects_without_an_end_are_given_up() -> None:
    def round_and_round(request: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": request.path})

    async with serving(OddHub(round_and_round)) as stranger:
        hub = HuggingFaceHub(stranger.url, timeout=60.0, patience=60.0)
        assert await resolved(hub) is Task.EMBED
        await hub.close()
