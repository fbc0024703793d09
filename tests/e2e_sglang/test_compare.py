"""The router changes an engine's answers only as listed in `compare/expected.py`. `make
compare` plays all requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.e2e_sglang.compare.case import Case
from tests.e2e_sglang.compare.cases import SAMPLE
from tests.e2e_sglang.compare.play import Player, starting
from tests.e2e_sglang.harness import Harness

pytestmark = pytest.mark.sglang


@pytest.fixture
async def player(harness: Harness) -> AsyncIterator[Player]:
    async with starting(harness) as player:
        yield player


@pytest.mark.parametrize("case", SAMPLE, ids=str)
async def test_a_request_is_answered_alike_directly_and_through_the_router(
    case: Case, player: Player
) -> None:
    await player.play(case)
