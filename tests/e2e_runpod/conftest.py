"""One Hub for each module. A module says what the `endpoint` is like that its tests share."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.e2e_runpod.harness import QueueHarness
from tests.loopback_hub import LoopbackHub


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueHarness]:
    with LoopbackHub() as hub:
        yield QueueHarness(hub, tmp_path_factory.mktemp("harness"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    harness = getattr(item, "funcargs", {}).get("harness")
    if report.failed and harness is not None and harness.workers:
        report.sections.append(("The latest worker's log", harness.workers[-1].log))
    return report
