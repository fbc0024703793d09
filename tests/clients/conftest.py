"""One worker for all tests here."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.clients.harness import EMBEDDER, MODEL, PRIVATE, Served
from tests.e2e.conftest import pytest_runtest_makereport
from tests.e2e.harness import Harness
from tests.loopback_hub import LoopbackHub

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="package")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with LoopbackHub() as hub:
        yield Harness(hub, tmp_path_factory.mktemp("harness"))


@pytest.fixture(scope="package")
def served(harness: Harness) -> Iterator[Served]:
    harness.model(MODEL)
    harness.model(PRIVATE, private=True)
    harness.model(EMBEDDER, further=("modules.json",))
    key, token = secrets.token_hex(16), harness.hub.add_account("acme")
    with harness.worker(API_KEYS=key, MODEL_NAME=MODEL, MAX_LOADED_MODELS="12") as worker:
        yield Served(harness, worker.url, key, token)
