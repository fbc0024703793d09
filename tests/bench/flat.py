"""`python -m tests.bench.flat [SECONDS]`: what must not grow.

Measures CPU time per request with few and with 10,000 models in MODELS_CONFIG, in turn. Then
puts one router under load for SECONDS, and prints its memory, files and threads after each
tenth.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import uvloop

from tests.bench.cases import MANY, Meter
from tests.bench.processes import descriptors, resident, running, threads
from tests.bench.products import WHOLE, router
from tests.bench.ways import Way, ask, caller_headers, gated_hub
from tests.worker import ROOT

MODELS = (10, 10_000)
ROUNDS = 7
PARTS = 10


def main() -> int:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        hub = stack.enter_context(gated_hub())
        headers = caller_headers(hub)
        ways = []
        for count in MODELS:
            file = directory / f"{count}.yaml"
            file.write_text("".join(f"- model: many/m{n}\n" for n in range(count)))
            program = router(ROOT, directory / str(count), hub.environment(), str(file))
            one = stack.enter_context(running(program, directory / f"{count}.log"))
            ask(one.url, WHOLE, headers)
            ways.append(Way(f"{count:,} models", one, one))
        uvloop.run(_measure(Meter(headers, directory), ways, seconds))
    return 0


async def _measure(meter: Meter, ways: list[Way], seconds: int) -> None:
    spent: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(ROUNDS + 1):
        for way in random.sample(ways, len(ways)):
            figures = await meter.measure(MANY, way, 1)
            if number and figures.cpu is not None:  # the first round warms up
                spent[way.name].append(figures.cpu)
    for name, values in spent.items():
        print(f"{name:16}{statistics.median(values):8.0f} µs of CPU time per request")
    way = ways[0]
    (pid,) = way.whole.pids
    print(f"\n{'requests':>12}{'MB':>8}{'files':>8}{'threads':>10}")
    done = 0.0
    for _ in range(PARTS):
        part = max(1, seconds // PARTS)
        done += (await meter.measure(MANY, way, part)).rate * part
        held = resident([pid]) / 1e6
        print(f"{done:12,.0f}{held:8.1f}{descriptors(pid):8}{threads(pid):10}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
