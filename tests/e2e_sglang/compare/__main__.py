"""`python -m tests.e2e_sglang.compare [WORD...]`: run all cases, or those with a word.

Prints each unexplained difference. Exits with 1 if there is one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests import tiny_models
from tests.e2e_sglang.compare.case import Case
from tests.e2e_sglang.compare.cases import CASES
from tests.e2e_sglang.compare.play import Differs, Player, starting
from tests.e2e_sglang.harness import APPLE, PEAR, Harness, engines_below
from tests.loopback_hub import LoopbackHub
from tests.worker import Worker


def main(words: list[str]) -> int:
    chosen = [case for case in CASES if not words or any(word in str(case) for word in words)]
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        hub.add_repo(APPLE, tiny_models.make(directory, "apple"))
        hub.add_repo(PEAR, tiny_models.make(directory, "pear", tiny_models.Kind.EMBED))
        environ = {
            **hub.environment(),
            **engines_below(directory / "worker"),
            "ENGINE_ARGS": "--enable-cache-report",
            "CUDA_VISIBLE_DEVICES": "",
            "MODEL_NAME": APPLE,
            "MAX_LOADED_MODELS": "2",
        }
        with Worker(directory / "worker", environ) as worker:
            return asyncio.run(_compare(Harness(worker, hub, "", ""), chosen))


async def _compare(harness: Harness, cases: list[Case]) -> int:
    async with starting(harness) as player:
        differing = await _play(player, cases)
    own = Counter(case.own.reason for case in cases if case.own is not None)
    print(f"\n{len(cases)} requests, {len(cases) - own.total()} answered by the engine alike.")
    for reason, count in own.most_common():
        print(f"{count:4} answered by the router: {reason}")
    print(f"{differing:4} with a difference that nothing explains")
    return 1 if differing else 0


async def _play(player: Player, cases: list[Case]) -> int:
    differing = 0
    for case in cases:
        try:
            await player.play(case)
        except Differs as found:
            differing += 1
            print(f"\n{case}\n{found}", flush=True)
    return differing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
