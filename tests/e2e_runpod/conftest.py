"""One Hub for each module. A module says what the `endpoint` is like that its tests share."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.e2e_runpod.harness import Stage
from tests.loopback_hub import LoopbackHub


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with LoopbackHub() as hub:
        yield Stage(hub, tmp_path_factory.mktemp("stage"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and stage is not None and stage.workers:
        report.sections.append(("The latest worker's log", stage.workers[-1].log))
    return report
