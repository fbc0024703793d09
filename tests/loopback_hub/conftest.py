"""One Hub and one client per module, because the client takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.client import Client


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def client(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(hub.patient_environment(), tmp_path_factory.mktemp("home")) as client:
        yield client
