from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.engines.trees import StubbornTree
from tests.engines.workshop import Workshop


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[StubbornTree]:
    tree = StubbornTree(tmp_path)
    yield tree
    tree.kill()


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    assert workshop.processes() == [], "an engine was left behind"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests of processes and pipes with both event loops, because they differ there."""
    if item.path.name == "test_process.py":
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
