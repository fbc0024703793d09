"""Hypothesis's profiles (`make fuzz` takes `long`), and which tests are unit tests.

A test with the mark `process` starts processes. Tests in `_WITH_PROCESSES` and tests with the
real SGLang have that mark by themselves. `make unit` runs all others, and each of those fails
if it starts a process or reaches out of this machine.

`make test` runs those with processes two groups at a time, and no verdict depends on what else
the machine does.
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

# No verdict depends on how busy the machine is.
settings.register_profile("short", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("short")
settings.register_profile("long", settings.get_profile("short"), max_examples=30_000)

_WITH_PROCESSES = {
    *("clients", "e2e", "e2e_runpod", "e2e_sglang", "e2e_ray", "examples", "page", "security"),
    *("loopback_hub", "loopback_platform"),  # tests of the doubles themselves
}

# Folders with a worker of real engines, or a browser, for all tests. Elsewhere the tests of one
# file share what they have.
_ONE_GROUP = {"tests/clients", "tests/e2e_sglang", "tests/page"}


def pytest_configure() -> None:
    platform.processor()  # starts `uname`, once: OpenAI's client would, in the first test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _WITH_PROCESSES or item.get_closest_marker("sglang"):
            item.add_marker(pytest.mark.process)


class _ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Runs the tests of one group one after the other, in one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = str(Path(file).parent)
        return folder if folder in _ONE_GROUP else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByGroup | None:
    """`--dist loadfile`, with more than a file in some groups."""
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
