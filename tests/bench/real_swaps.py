"""Swaps of the real engine on the CPU: three models, room for two, with and without prestart.

python -m tests.bench.real_swaps [REQUESTS] [SEED]

Both settings get the same requests of six callers in the same order, in one run. Each model
says its own name, so every answer is checked. A caller pauses for ten seconds between an answer
and its next request.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.e2e_sglang.swapping import Reply, Start, ask, interleaved, new_worker, starts
from tests.loopback_hub import LoopbackHub

CALLERS = 6
PAUSE = 10.0  # seconds
SETTINGS = ("0", "1")  # values of STANDBY_ENGINES


@dataclass(frozen=True)
class Played:
    seconds: float
    replies: list[Reply]
    starts: list[Start]

    def column(self) -> list[str]:
        swaps = [one.swap for one in self.starts if one.swap is not None]
        cold = [one.took for one in self.starts if not one.prestarted]
        waits = sorted(reply.seconds for reply in self.replies)
        right = sum(reply.right for reply in self.replies)
        return [
            f"{right} of {len(self.replies)}",
            f"{len(self.starts)}, {sum(one.prestarted for one in self.starts)} of them",
            f"{len(swaps)}",
            spread(swaps),
            spread(cold),
            spread([one.took for one in self.starts if one.prestarted]),
            f"{median(waits):.1f} s, {waits[len(waits) * 95 // 100]:.0f} s, {waits[-1]:.0f} s",
            f"{self.seconds:.0f} s",
        ]


ROWS = (
    "correct answers",
    "starts, from the gate",
    "swaps",
    "a swap, from the eviction to the next engine's first answer",
    "a start that was not prestarted",
    "the rest of a start from the gate",
    "an answer: median, p95, longest",
    "all requests",
)


def spread(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    return f"{median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"


def table(played: list[Played]) -> str:
    head = ["", *(f"`STANDBY_ENGINES={setting}`" for setting in SETTINGS)]
    rows = [head, ["---"] * len(head)]
    rows += [list(row) for row in zip(ROWS, *(one.column() for one in played), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


async def play(setting: str, asked: list[list[str]]) -> Played:
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as directory:
        worker = new_worker(hub, Path(directory), STANDBY_ENGINES=setting)
        with worker:
            began = time.monotonic()
            replies = await ask(worker, asked, PAUSE)
            took = time.monotonic() - began
        played = Played(took, replies, starts(worker))
    print(f"STANDBY_ENGINES={setting}: {'; '.join(played.column())}", flush=True)
    return played


async def main(requests: int, seed: int) -> None:
    asked = interleaved(requests, CALLERS, seed)
    played = [await play(setting, asked) for setting in SETTINGS]
    print(table(played))
    for reply in [reply for one in played for reply in one.replies if not reply.right]:
        print(f"WRONG: {reply}")


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    asyncio.run(main(*(given + [60, 1][len(given) :])))
