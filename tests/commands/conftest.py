from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.harness import Operator
from tests.loopback_hub import LoopbackHub


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with LoopbackHub() as hub:
        yield Operator(hub, tmp_path)
