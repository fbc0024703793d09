"""All tests here share one worker, because a real engine needs 20 seconds to start on two
cores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import openai
import pytest

from tests import tiny_models, tiny_vision
from tests.e2e_sglang.harness import APPLE, PATIENCE, PEAR, PLUM, Harness, engines_below
from tests.e2e_sglang.target import Target
from tests.loopback_hub import LoopbackHub
from tests.worker import Worker

# Everything that SGLang can do for a caller is switched on, so only the worker refuses. SGLang
# also logs each request with all its fields.
_OBLIGING = (
    *("--log-requests", "--log-requests-level", "3"),
    *("--enable-custom-logit-processor", "--enable-response-store"),
    *("--allowed-media-domains", "127.0.0.1", "localhost", "::ffff:127.0.0.1"),
    *("2130706433", "0x7f000001", "127.1"),
)


@pytest.fixture(scope="package")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    models, directory = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("worker")
    with LoopbackHub() as hub:
        hub.add_repo(APPLE, tiny_models.make(models, "apple"))
        hub.add_repo(PEAR, tiny_models.make(models, "pear", tiny_models.Kind.EMBED))
        hub.add_repo(PLUM, tiny_vision.make(models, "plum"))
        settings = {
            **hub.environment(),
            **engines_below(directory),
            "ENGINE_ARGS": " ".join(("--enable-cache-report", *_OBLIGING)),
            "SGLANG_ENABLE_REQUEST_HEADER_OVERRIDES": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "MAX_LOADED_MODELS": "4",
        }
        with Worker(directory, settings) as worker:
            harness = Harness(
                worker, hub, ann=hub.add_account("ann"), ben=hub.add_account("ben")
            )
            yield harness
            # The worker stops with its engines, and its log contains no token.
            assert (worker.stop(), worker.processes()) == (0, [])
            assert not any(token in worker.log for token in (harness.ann, harness.ben))


@pytest.fixture
async def http(harness: Harness) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        harness.worker.url, timeout=aiohttp.ClientTimeout(PATIENCE)
    ) as session:
        yield session


@pytest.fixture
async def client(harness: Harness) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{harness.worker.url}/v1",
        api_key="none",
        max_retries=0,
        timeout=PATIENCE,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as client:
        yield client


@pytest.fixture
def model() -> str:
    """The model to ask."""
    return APPLE


@pytest.fixture
def worker(harness: Harness, model: str) -> Target:
    return Target(harness.worker.url, model)


@pytest.fixture
async def engine(harness: Harness, worker: Target) -> Target:
    """The model's engine, without the worker."""
    if not harness.engines(worker.model):
        assert (await worker.post("/v1/completions", {"prompt": "Start."})).answer
    found = harness.engine(worker.model)
    return Target(found.url, worker.model, found.signed)
