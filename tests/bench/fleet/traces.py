"""The traces: a number of models, requested by popularity, evenly or in bursts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.hardware import Hardware, Model

TOKENS = 200  # of a mean answer: 4 s


def zipf(seed: int, models: int, rate: float, lasts: float) -> ArrivalTrace:
    """A Poisson process. The n-th model is requested in proportion to 1/n."""
    rng = random.Random(seed)
    chances = _chances(models)
    made = [
        Arrival(at, rng.choices(range(models), cum_weights=chances)[0], "", _tokens(rng))
        for at in _poisson(rng, rate, 0.0, lasts)
    ]
    return _trace("zipf", models, made, lasts)


def bursty(seed: int, models: int, rate: float, lasts: float) -> ArrivalTrace:
    """People work with a model for 60 to 180 s, with one request per 3.3 s. Models are chosen
    by popularity. `rate`: all requests per second."""
    rng = random.Random(seed)
    chances = _chances(models)
    made = list[Arrival]()
    for start in _poisson(rng, rate / (1 + 0.3 * 120), 0.0, lasts):
        model = rng.choices(range(models), cum_weights=chances)[0]
        ends = min(lasts, start + rng.uniform(60, 180))
        times = (start, *_poisson(rng, 0.3, start, ends))
        made += [Arrival(at, model, "", _tokens(rng)) for at in times]
    return _trace("bursty", models, sorted(made, key=lambda one: one.at), lasts)


def _trace(name: str, models: int, made: list[Arrival], lasts: float) -> ArrivalTrace:
    all_ = tuple(Model(f"m{number:05}") for number in range(models))
    return ArrivalTrace(
        name, f"{name}, {models:,} models", Hardware(), all_, tuple(made), lasts
    )


def _chances(models: int) -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, models + 1)))


def _poisson(rng: random.Random, rate: float, start: float, ends: float) -> Iterator[float]:
    at = start
    while (at := at + rng.expovariate(rate)) < ends:
        yield at


def _tokens(rng: random.Random) -> int:
    return max(1, round(rng.expovariate(1 / TOKENS)))
