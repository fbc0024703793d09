"""One Hub for each module. A module says what its `worker` is like; `caller` calls that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.harness import Harness
from tests.loopback_hub import LoopbackHub
from tests.worker import Worker


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with LoopbackHub() as hub:
        yield Harness(hub, tmp_path_factory.mktemp("harness"))


@pytest.fixture
async def caller(worker: Worker) -> AsyncIterator[Caller]:
    async with calling(worker.url) as caller:
        yield caller


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    harness = getattr(item, "funcargs", {}).get("harness")
    if report.failed and harness is not None and harness.workers:
        report.sections.append(("The latest worker's log", harness.workers[-1].log))
    return report
