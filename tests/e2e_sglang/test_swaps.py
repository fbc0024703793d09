"""Three models, room for two: the real engine makes room, and returns from its gate."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.e2e_sglang.swapping import NAMES, ask, new_worker, starts
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.sglang

# Each caller's requests, in order. All come to the third model, and then perhaps to one that
# made room for it. That limits the test to two swaps, because starts are slow.
ASKED = (
    ("apple", "apple", "damson", "damson"),
    ("cherry", "cherry", "damson", "apple"),
    ("apple", "cherry", "damson", "apple"),
)


async def test_every_answer_is_right_while_engines_make_room_for_each_other() -> None:
    # A short path: the engine's sockets are below it, and their paths have at most 107
    # characters.
    with tempfile.TemporaryDirectory(prefix="swaps-") as short, LoopbackHub() as hub:
        tmp_path = Path(short)
        settings = {"SWAP_PATIENCE": "0", "STANDBY_ENGINES": "1"}
        with new_worker(hub, tmp_path, **settings) as worker:
            replies = await ask(worker, ASKED, pause=0.0)
            assert (worker.stop(), worker.processes()) == (0, [])
        started = starts(worker)
    assert [reply for reply in replies if not reply.right] == []
    assert len(replies) == 12
    assert len(started) >= len(NAMES)
    assert any(one.swap is not None for one in started)
