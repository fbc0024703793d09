"""docs/swaps.md: the tables and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf

from router.simulation.world import QUEUE_TIMEOUT
from tests.bench.swap.figures import Figures
from tests.bench.swap.modes import modes
from tests.bench.swap.suite import Bounds, Results, summary
from tests.bench.swap.traces import LASTS, TRACES

_TEXT = """# Many models in turns

`make bench-swap` writes this page. It runs the decision code of this checkout
(`router/scheduler`: events in, actions out) and the rules of other products, in virtual time,
on the same traces and the same simulated machine. Times are in seconds. No GPU is involved: the
figures compare policies, and say nothing about a real device.

The machine: a cold start of a model of 8 billion parameters takes 40 s (18 s for the imports of
its process, 18 s to read the weights, 4 s to warm up), a stop 2 s, and a token 20 ms, for each
of up to 64 requests at once. Engines that read weights at the same time share the bandwidth. A
sleeping engine's weights move at 20 GB/s, plus half a second for each sleep or wake. A request
waits for at most {timeout:.0f} s, and then counts as failed. Each trace lasts {hours:g} hours.

The rivals follow their published rules, with two advantages: all know every model's memory, and
none cuts off or refuses a request that could wait (`tests/bench/swap/rivals.py`).

* **served**: the share of requests that got an engine. **p50**, **p95**: the wait for the
  engine; a failed request counts as the longest wait ("never").
* **longest**: the longest wait, until an engine or a failure.
* **idle**: the share of the time in which requests waited and none was answered.
* **worst model**: the longest time in which one model's requests waited or failed and none of
  them was served.

There are {seeds} seeds: shares and counts are means, p50 and p95 are medians, and the longest
wait and the worst model are the worst of all seeds.
"""

_BOUNDS = """## How few cold starts there can be

**Proven** is a lower bound: no schedule that serves every request within the given wait has
fewer cold starts, even with full knowledge of the future (`tests/bench/swap/bounds.py`, without
sleep). **With prestart** is the same bound if a process may wait at its gate. **Known** is the
best schedule that a search with full knowledge found and carried out on the same machine
(`tests/bench/swap/offline.py`); "none" means that it found no schedule that serves all
requests. Seed 1.
"""


def page(results: Results) -> str:
    seeds = len(next(iter(next(iter(results.runs.values())).values())))
    text = _TEXT.format(timeout=QUEUE_TIMEOUT, hours=LASTS / 3600, seeds=seeds)
    return "\n".join([text, *_traces(results), _BOUNDS, *_bounds(results)]) + "\n"


def _traces(results: Results) -> Iterator[str]:
    for name, runs in results.runs.items():
        yield f"## {TRACES[name](1).title[:1].upper()}{TRACES[name](1).title[1:]}\n"
        yield f"![p95 and cold starts](swaps/{name}.svg)\n"
        yield "| | served | p50 | p95 | longest | cold starts | wakes | idle | worst model |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for mode, found in runs.items():
            yield row(modes()[mode].title, summary(found))
        yield ""


def row(title: str, one: Figures) -> str:
    return (
        f"| {title} | {share(one.served)} | {seconds(one.p50)} | {seconds(one.p95)} | "
        f"{seconds(one.longest)} | {one.cold_starts} | {one.wakes} | {one.idle:.0%} | "
        f"{seconds(one.starved)} |"
    )


def share(part: float) -> str:
    """A percentage. It shows 100 % only if it is exactly all."""
    return f"{min(part * 100, 99.9) if part < 1 else 100:.{0 if part == 1 else 1}f} %"


def seconds(value: float) -> str:
    return "never" if isinf(value) else f"{value:.0f}"


def _bounds(results: Results) -> Iterator[str]:
    patiences = [one.patience for one in next(iter(results.bounds.values()), ())]
    heads = [
        f"{what}, {p:.0f} s" for p in patiences for what in ("proven", "with prestart", "known")
    ]
    yield f"| | {' | '.join(heads)} |"
    yield f"|---|{'---|' * len(heads)}"
    for name, found in results.bounds.items():
        yield f"| {TRACES[name](1).title} | {' | '.join(_cells(found))} |"


def _cells(found: Sequence[Bounds]) -> Iterator[str]:
    for one in found:
        yield from (str(one.proven), str(one.proven_prestarted))
        yield "none" if one.known is None else str(one.known)
