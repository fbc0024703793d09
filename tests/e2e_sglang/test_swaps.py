"""Three models, room for two: the real engine makes room, and comes back from its gate."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.e2e_sglang.swapping import NAMES, ask, new_worker, starts
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.sglang

# What each caller asks, in order. All come to want the third model, and then, perhaps, one that
# made room for it: two swaps at most, since each start takes its time.
ASKED = (
    ("apple", "apple", "damson", "damson"),
    ("cherry", "cherry", "damson", "apple"),
    ("apple", "cherry", "damson", "apple"),
)


async def test_every_answer_is_right_while_engines_make_room_for_each_other() -> None:
    # A short path: those of the engine's sockets lie below it, and have 107 characters.
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
