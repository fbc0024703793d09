"""Can response times reveal a private model that is loaded for its owner?

    python -m tests.bench.secrecy

Strangers ask about that model and a missing one, in random order: some with a new token each
(so the Hub is asked), one with a remembered refusal. `order` is how often the private one took
longer; ties count half: 0.5 is chance. The loopback Hub's own time is included.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.caller import Caller, calling
from tests.e2e.harness import Harness
from tests.loopback_hub import LoopbackHub

PAIRS = 1000
HIDDEN, ABSENT = "acme/Hidden", "acme/Absent"


def main() -> int:
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as directory:
        harness = Harness(hub, Path(directory))
        harness.model(HIDDEN, private=True)
        with harness.worker() as worker:
            asyncio.run(measure(hub, worker.url))
    return 0


async def measure(hub: LoopbackHub, url: str) -> None:
    async with calling(url) as caller:
        answer = await caller.chat(HIDDEN, token=hub.add_account("acme"))
        assert answer.status == 200, answer.body
        one = hub.add_account("stranger")
        print(f"{'':12} {'private ms':>12} {'missing ms':>12} {'ratio':>7} {'order':>7}")
        await compare("new token", caller, lambda: hub.add_account("stranger"))
        await compare("remembered", caller, lambda: one)


async def compare(label: str, caller: Caller, token: Callable[[], str]) -> None:
    took: dict[str, list[float]] = {HIDDEN: [], ABSENT: []}
    for _ in range(PAIRS):
        for name in random.sample([HIDDEN, ABSENT], 2):
            bearer, began = token(), time.perf_counter()
            answer = await caller.chat(name, token=bearer)
            took[name].append(time.perf_counter() - began)
            assert answer.status == 404, answer.body
    hidden, absent = (statistics.median(took[name]) * 1000 for name in (HIDDEN, ABSENT))
    later = order(took[HIDDEN], took[ABSENT])
    print(f"{label:12} {hidden:12.3f} {absent:12.3f} {hidden / absent:7.3f} {later:7.3f}")


def order(first: list[float], second: list[float]) -> float:
    """The share of all pairs where the first is larger (Mann and Whitney's U / mn)."""
    larger = sum((a > b) + (a == b) / 2 for a in first for b in second)
    return larger / (len(first) * len(second))


if __name__ == "__main__":
    sys.exit(main())
