"""Most tests share one worker, because a worker takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.loopback_platform import LoopbackPlatform
from tests.loopback_platform.harness import Harness, Start
from tests.loopback_platform.worker import HandlerProcess


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    home = tmp_path_factory.mktemp("generator")
    with (
        LoopbackPlatform(poll=0.5) as platform,
        HandlerProcess("generator", platform.environment(), home) as worker,
    ):
        yield Harness(platform, worker)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(handler: str, *arguments: str, poll: float = 1.0, **environ: str) -> Harness:
            platform = stack.enter_context(LoopbackPlatform(poll))
            everything = platform.environment() | environ
            worker = HandlerProcess(handler, everything, tmp_path, *arguments)
            return Harness(platform, stack.enter_context(worker))

        yield start
