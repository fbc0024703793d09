"""`plan`: computes from a request log how many workers to use, and which models to group."""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

from router.commands.output import Output, printable
from router.commands.plan.report import Guessed, PlanReport
from router.commands.plan.request_log import RequestLog, read_log
from router.commands.plan.sizes import Sizes, read_sizes
from router.commands.progress import waiting
from router.config.parsers import as_size
from router.simulation.arrivals import Arrival, ArrivalTrace
from router.simulation.hardware import Hardware, Model
from router.simulation.planning import busiest, plans

DEVICE = 80 * 10**9  # bytes, if the GPU is unknown
START = 40.0  # seconds, if no start was measured
_SHARE = 5  # a model of unknown size takes a fifth of a device
_LONGEST = 3600.0  # seconds of a start or an answer; if more, the machine stood still
_TOKEN = 0.001  # seconds; the log has durations in milliseconds
_DAY = 86400.0  # seconds; another machine's clock may be that far ahead


def plan_command(chosen: argparse.Namespace, now: Callable[[], float] = time.time) -> int:
    """Return the exit status. 0: a fleet meets the wait; 1: none that was tried does; 2: wrong
    use."""
    try:
        log = _read(chosen.log, now() + _DAY)
        sizes = read_sizes(chosen.sizes or [])
        device = as_size(chosen.gpu_memory) if chosen.gpu_memory else sizes.budget or DEVICE
    except OSError as error:
        return _wrong(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:
        return _wrong(str(error))
    part, guessed = as_trace(log, sizes, device, chosen.requests)
    with waiting("simulating fleets"):
        made = list(plans(part, chosen.workers, chosen.wait))
    PlanReport(log, part, made, chosen.wait, guessed).show(Output(), as_json=chosen.json)
    return 0 if made[-1].meets(chosen.wait) else 1


def _wrong(why: str) -> int:
    print(printable(f"Nothing can be planned: {why}"), file=sys.stderr)  # noqa: T201
    return 2


def _without_requests(log: RequestLog) -> str:
    if not log.lines:
        return "the log is empty"
    if log.entries is not None:
        told = f"of {log.entries:,} requests of the activity, {log.bad:,} could not be read"
        return "; ".join((f"{told}, and none was for a model", *log.named))
    told = (
        f"of {log.lines:,} lines, {log.bad:,} could not be read, and none is a model's request"
    )
    return "; ".join((told, "the worker must have run with LOG_FORMAT=json", *log.named))


def _read(name: Path, latest: float) -> RequestLog:
    """Read a log; `-` is standard input. Raises `OSError`, or `ValueError` if it has no
    requests."""
    if str(name) == "-":
        log = read_log(sys.stdin.buffer, latest)
    else:
        with name.open("rb") as file:
            log = read_log(file, latest)
    if not log.at:
        raise ValueError(_without_requests(log))
    return log


def as_trace(
    log: RequestLog, sizes: Sizes, device: int, most: int
) -> tuple[ArrivalTrace, Guessed]:
    """A trace for the simulation: at most `most` requests, from the log's busiest time."""
    needs = [sizes.needs.get(name) for name in log.names]
    memories = [need.memory if need else None for need in needs]
    starts = [
        (need.start if need else None) or _usual(use.loads)
        for need, use in zip(needs, log.uses, strict=True)
    ]
    guessed = Guessed(
        memory=round(median([one for one in memories if one] or [device // _SHARE])),
        start=median([one for one in starts if one] or [START]),
        without_memory=sum(not one for one in memories),
        without_start=sum(not one for one in starts),
    )
    seconds = [min(_LONGEST, one or guessed.start) for one in starts]
    machine = _machine(device, min(seconds))
    models = tuple(
        _model(name, min(memory or guessed.memory, device), start, machine)
        for name, memory, start in zip(log.names, memories, seconds, strict=True)
    )
    return ArrivalTrace("log", "log", machine, models, *_arrivals(log, most)), guessed


def _usual(loads: list[float]) -> float | None:
    """The upper quartile of the waits: most requests arrive during a start and wait less."""
    if len(loads) < 2:
        return loads[0] if loads else None
    return quantiles(loads, n=4, method="inclusive")[2]


def _machine(device: int, shortest: float) -> Hardware:
    """A machine with the usual shares of a start: imports, reading, and warm-up."""
    return Hardware(
        device=device,
        process_start=0.45 * shortest,
        load_rate=1e9,
        warm_up=0.1 * shortest,
        token=_TOKEN,
    )


def _model(name: str, memory: int, start: float, machine: Hardware) -> Model:
    reads = start - machine.process_start - machine.warm_up
    beside = memory // 10
    return Model(name, memory - beside, beside, reads=max(0, int(reads * machine.load_rate)))


def _arrivals(log: RequestLog, most: int) -> tuple[tuple[Arrival, ...], float]:
    order = array("l", sorted(range(len(log.at)), key=log.at.__getitem__))
    part = busiest(array("d", map(log.at.__getitem__, order)), most)
    first: float = log.at[order[part.start]]
    durations: array[float] = log.seconds
    made = tuple(
        Arrival(
            log.at[n] - first, log.model[n], "", int(min(_LONGEST, durations[n]) / _TOKEN) + 1
        )
        for n in order[part.start : part.stop]
    )
    return made, made[-1].at
