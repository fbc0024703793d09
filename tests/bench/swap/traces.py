"""The traces: requests with their model, time and number of tokens. Each is seeded.

Arrivals are a Poisson process unless a trace says otherwise. Answers have exponential lengths.
Each model has its own caller.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.hardware import GB, Hardware, Model

HOURS = 3600.0
LASTS = 2 * HOURS

ONE_SLOT = Hardware(device=24 * GB)  # one 8B model, and no second
TWO_SLOTS = Hardware(device=44 * GB)
FOUR_SLOTS = Hardware()


def _eights(count: int) -> tuple[Model, ...]:
    return tuple(Model(f"m{number:02}") for number in range(count))


def _poisson(
    rng: random.Random, rate: float, lasts: float, start: float = 0.0
) -> Iterator[float]:
    at = start
    while (at := at + rng.expovariate(rate)) < lasts:
        yield at


def _evenly(every: float, lasts: float) -> Iterator[float]:
    return (number * every for number in range(int(lasts / every)))


def _tokens(rng: random.Random, mean: float) -> int:
    return max(1, round(rng.expovariate(1 / mean)))


def _popularity(count: int, exponent: float) -> list[float]:
    return [1 / rank**exponent for rank in range(1, count + 1)]


def _trace(
    name: str,
    title: str,
    machine: Hardware,
    models: tuple[Model, ...],
    requests: Sequence[tuple[float, int, int]],
) -> ArrivalTrace:
    ordered = sorted(requests)
    made = tuple(Arrival(at, model, f"caller-{model}", n) for at, model, n in ordered)
    return ArrivalTrace(name, title, machine, models, made, LASTS)


def alternating(
    seed: int,
    *,
    name: str,
    title: str,
    count: int,
    machine: Hardware,
    rate: float,
    tokens: Callable[[random.Random], int],
) -> ArrivalTrace:
    """A B A B ..., one request after another."""
    rng = random.Random(seed)
    requests = [
        (at, number % count, tokens(rng)) for number, at in enumerate(_evenly(1 / rate, LASTS))
    ]
    return _trace(name, title, machine, _eights(count), requests)


def zipf(seed: int, *, name: str, rate: float, exponent: float = 1.0) -> ArrivalTrace:
    rng = random.Random(seed)
    models = _eights(20)
    weights = _popularity(len(models), exponent)
    requests = [
        (at, rng.choices(range(len(models)), weights)[0], _tokens(rng, 200))
        for at in _poisson(rng, rate, LASTS)
    ]
    title = f"Zipf, 20 models, 4 slots, {rate:g}/s"
    return _trace(name, title, FOUR_SLOTS, models, requests)


def bursty(seed: int) -> ArrivalTrace:
    """Twelve models. Every 40 s, somebody begins to work with one of them for a while."""
    rng = random.Random(seed)
    models = _eights(12)
    weights = _popularity(len(models), 1.2)
    requests = []
    for start in _poisson(rng, 1 / 40, LASTS):
        model = rng.choices(range(len(models)), weights)[0]
        ends = min(LASTS, start + rng.uniform(60, 180))
        times = (start, *_poisson(rng, 0.3, ends, start))
        requests += [(at, model, _tokens(rng, 200)) for at in times]
    return _trace("bursty", "bursty, 12 models, 4 slots", FOUR_SLOTS, models, requests)


def hot_and_cold(seed: int) -> ArrivalTrace:
    """One model all the time, another one every 100 s. Both fit."""
    rng = random.Random(seed)
    requests = [(at, 0, _tokens(rng, 800)) for at in _poisson(rng, 0.5, LASTS)]
    requests += [(at, 1, _tokens(rng, 800)) for at in _poisson(rng, 1 / 100, LASTS)]
    return _trace("hot-cold", "a hot model and a cold one", TWO_SLOTS, _eights(2), requests)


def huge_and_small(seed: int) -> ArrivalTrace:
    """One model fills the device. Six small ones fit together, but not next to it."""
    rng = random.Random(seed)
    small = tuple(Model(f"small-{number}", 8 * GB, 2 * GB) for number in range(6))
    models = (Model("huge", 70 * GB, 6 * GB), *small)
    requests = [(at, 0, _tokens(rng, 200)) for at in _poisson(rng, 1 / 120, LASTS)]
    for number in range(1, len(models)):
        requests += [(at, number, _tokens(rng, 200)) for at in _poisson(rng, 1 / 60, LASTS)]
    return _trace("huge", "one huge model and six small ones", FOUR_SLOTS, models, requests)


def _one_long(rng: random.Random) -> int:
    return 10_000 if rng.random() < 0.01 else _tokens(rng, 100)


TRACES: Mapping[str, Callable[[int], ArrivalTrace]] = {
    "abab-slow": partial(
        alternating,
        name="abab-slow",
        title="A B A B, one slot, 1 request per 10 s",
        count=2,
        machine=ONE_SLOT,
        rate=0.1,
        tokens=partial(_tokens, mean=260),
    ),
    "abab-fast": partial(
        alternating,
        name="abab-fast",
        title="A B A B, one slot, 2/s, 1,000 tokens",
        count=2,
        machine=ONE_SLOT,
        rate=2.0,
        tokens=lambda _: 1000,
    ),
    "abab-long": partial(
        alternating,
        name="abab-long",
        title="A B A B, one slot, 1 per 10 s, long answers",
        count=2,
        machine=ONE_SLOT,
        rate=0.1,
        tokens=partial(_tokens, mean=3000),
    ),
    "abc": partial(
        alternating,
        name="abc",
        title="A B C, two slots, 1 request per 10 s",
        count=3,
        machine=TWO_SLOTS,
        rate=0.1,
        tokens=partial(_tokens, mean=260),
    ),
    "zipf-03": partial(zipf, name="zipf-03", rate=0.03),
    "zipf-06": partial(zipf, name="zipf-06", rate=0.06),
    "zipf-12": partial(zipf, name="zipf-12", rate=0.12),
    "bursty": bursty,
    "hot-cold": hot_and_cold,
    "huge": huge_and_small,
    "one-long": partial(
        alternating,
        name="one-long",
        title="A B A B, one answer in a hundred takes 200 s",
        count=2,
        machine=ONE_SLOT,
        rate=0.1,
        tokens=_one_long,
    ),
}
