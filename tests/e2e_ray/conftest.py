"""One fleet of two Ray nodes per module. Without Ray, these tests are not collected: `make
test-ray` runs them in an environment with Ray."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import AsyncIterator, Generator, Iterator

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.harness import Harness
from tests.e2e_ray.fleet import RayFleet
from tests.loopback_hub import LoopbackHub

collect_ignore_glob = ["test_*.py"]
if importlib.util.find_spec("ray"):
    collect_ignore_glob = []
    with warnings.catch_warnings(
        action="ignore"
    ):  # its import warns about its own dependencies
        importlib.import_module("ray.serve.schema")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with LoopbackHub() as hub:
        yield Harness(hub, tmp_path_factory.mktemp("harness"))


@pytest.fixture(scope="module")
def fleet(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayFleet]:
    with RayFleet(tmp_path_factory.mktemp("fleet"), harness.hub) as fleet:
        yield fleet


@pytest.fixture
async def caller(fleet: RayFleet) -> AsyncIterator[Caller]:
    async with calling(fleet.urls[0]) as caller:
        yield caller


@pytest.fixture
async def other(fleet: RayFleet) -> AsyncIterator[Caller]:
    """A caller of the other ingress."""
    async with calling(fleet.urls[1]) as caller:
        yield caller


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fleet = getattr(item, "funcargs", {}).get("fleet")
    if report.failed and fleet is not None:
        report.sections.append(("The fleet's logs", fleet.printed))
    return report
