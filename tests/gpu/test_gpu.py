"""Needs a GPU and the SGLang of `ENGINE_PYTHON`: sleep frees memory and loses nothing."""

from __future__ import annotations

import os

import pytest

from engines.memory import NvmlGauge, find_gpus
from tests.gpu.__main__ import measure
from tests.gpu.models import GIB

pytestmark = [pytest.mark.gpu, pytest.mark.process]


async def test_a_sleeper_gives_its_memory_back_and_answers_as_before() -> None:
    gpus = find_gpus(os.environ, 1)
    if not gpus:
        pytest.skip("no NVIDIA GPU")
    python = os.environ.get("ENGINE_PYTHON", "python3")
    [figures] = await measure(NvmlGauge(gpus), python, [1.0])
    assert figures.same_answers
    assert figures.left < min(3 * GIB, figures.held / 2)
    assert figures.wake < figures.cold_start / 2
    assert figures.from_gate < figures.cold_start
