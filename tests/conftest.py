"""Hypothesis's profiles (`make fuzz` uses `long`), and the choice of unit tests.

Tests that start processes have the mark `process`. Tests in `_WITH_PROCESSES` and tests with
the real SGLang get it here. `make unit` runs all other tests. They fail if they start a process
or connect to another machine.

`make test` runs the process tests in two groups at a time. No verdict depends on the load of
the machine.
"""

from __future__ import annotations

import platform
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.unit_rule import watching

# No verdict depends on the load of the machine.
settings.register_profile("short", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("short")
settings.register_profile("long", settings.get_profile("short"), max_examples=30_000)

_WITH_PROCESSES = {
    *("clients", "e2e", "e2e_runpod", "e2e_sglang", "e2e_ray", "examples", "page", "security"),
    *("loopback_hub", "loopback_platform"),  # tests of the test doubles
}

# All tests in one of these folders share a worker with real engines, or a browser. Elsewhere,
# only the tests of one file share their fixtures.
_ONE_GROUP = {"tests/clients", "tests/e2e_sglang", "tests/page"}


def pytest_configure() -> None:
    platform.processor()  # starts `uname` once: OpenAI's client would do it in the first test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _WITH_PROCESSES or item.get_closest_marker("sglang"):
            item.add_marker(pytest.mark.process)


class _ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Runs the tests of one group one after another, in one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = str(Path(file).parent)
        return folder if folder in _ONE_GROUP else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByGroup | None:
    """Schedule like `--dist loadfile`, but with several files in some groups."""
    return _ByGroup(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    return (yield from _as_unit_test(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    return (yield from _as_unit_test(item))


def _as_unit_test(item: pytest.Item) -> Generator[None]:
    if item.get_closest_marker("process"):
        return (yield)
    with watching() as found:
        result = yield
    if found:
        pytest.fail(f"a test without the mark `process` did this: {found}")
    return result
