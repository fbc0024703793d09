"""One worker for all tests here: a real engine's start takes 20 seconds on two cores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import openai
import pytest

from tests import tiny_models
from tests.e2e_sglang.stage import APPLE, PEAR, Stage
from tests.loopback_hub import LoopbackHub
from tests.worker import ROOT, Worker

_PATIENCE = 180.0  # seconds


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    models = tmp_path_factory.mktemp("models")
    with LoopbackHub() as hub:
        hub.add_repo(APPLE, tiny_models.make(models, "apple"))
        hub.add_repo(PEAR, tiny_models.make(models, "pear", tiny_models.Kind.EMBED))
        settings = {
            **hub.environment(),
            "ENGINE_PYTHON": str(ROOT / ".venv-sglang" / "bin" / "python"),
            "ENGINE_ARGS": "--enable-cache-report",
            "CUDA_VISIBLE_DEVICES": "",
            "MAX_LOADED_MODELS": "2",
        }
        with Worker(tmp_path_factory.mktemp("worker"), settings) as worker:
            yield Stage(worker, hub, ann=hub.add_account("ann"), ben=hub.add_account("ben"))


@pytest.fixture
async def http(stage: Stage) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        stage.worker.url, timeout=aiohttp.ClientTimeout(_PATIENCE)
    ) as session:
        yield session


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{stage.worker.url}/v1",
        api_key="none",
        max_retries=0,
        timeout=_PATIENCE,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as client:
        yield client
