"""The worker's state as JSON, for the operator: docs/operations.md describes each field.

Bytes and seconds are numbers; times are seconds since 1970 by this machine's clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any

from router.admin.names import Names, id_of
from router.admin.timeline import Happening
from router.downloads.disk import DiskUsage
from router.pool.status import PoolStatus
from router.scheduler.events import DIGEST_SHOWN
from router.scheduler.forecast import Download
from router.scheduler.report import DeviceReport, EngineReport, RequestsReport
from router.scheduler.track import LastFailure, LastStart

Json = dict[str, Any]
Redact = Callable[[str], str]

_LONGEST_TEXT = 2000  # characters
_CALLER = re.compile(rf"(?<=\bcaller )[0-9a-f]{{{DIGEST_SHOWN}}}\b")


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """Facts about the whole worker. Times are seconds since 1970.

    At most `max_queue` requests wait and `max_loaded` engines are up (None: as many as fit).
    `hub_unavailable_since` is None unless the Hub is known to be unavailable.
    """

    started_at: float
    ready: bool
    leaving: bool
    max_queue: int
    max_loaded: int | None
    hub_unavailable_since: float | None = None


class StateWriter:
    """Writes states. `redact` removes what looks like a secret from the texts of engines;
    `key_name` returns the operator's name for a caller's key, or ""."""

    def __init__(
        self, names: Names, redact: Redact, key_name: Callable[[str | None], str] = lambda _: ""
    ) -> None:
        self._names, self._redact, self._key_name = names, redact, key_name

    def state(
        self,
        status: PoolStatus,
        worker: WorkerFacts,
        disk: DiskUsage | None,
        now: float,
        rates: Mapping[str, float] = MappingProxyType({}),
    ) -> Json:
        """The whole state. `now`: when `status` was taken, in seconds since 1970. `rates`:
        tokens per second, by model."""
        report = status.report
        shift = now - report.now
        engines = [
            {
                **self.engine(one, status, shift),
                "tokens_per_second": round(rates.get(one.key.repo_id, 0.0), 1),
            }
            for one in report.engines
        ]
        return {
            "now": now,
            "worker": {
                "started_at": worker.started_at,
                "ready": worker.ready,
                "leaving": worker.leaving or report.shutting_down,
                "hub_unavailable_since": worker.hub_unavailable_since,
            },
            "devices": [_device(one, shift) for one in report.devices],
            "loaded": {"engines": report.loaded, "limit": worker.max_loaded},
            "queue": {"waiting": report.waiting, "limit": worker.max_queue},
            "engines": engines,
            "more_engines": report.more_engines,
            "models": self._names.listed(),
            "disk": _disk(disk),
        }

    def happening(self, one: Happening, shift: float) -> Json:
        """An entry of the timeline. `shift` turns the pool's time into seconds since 1970."""
        return {
            "at": _Times(shift)(one.at),
            "what": one.what,
            "id": None if one.key is None else id_of(one.key),
            "generation": one.generation,
            "text": self._text(one.text),
        }

    def _requests(self, one: RequestsReport) -> Json:
        callers = [
            {"caller": self._key_name(each.caller) or each.caller, "requests": each.requests}
            for each in one.callers
        ]
        return {"requests": one.requests, "callers": callers, "more_callers": one.more_callers}

    def _text(self, text: str) -> str:
        """The end of a text, because it has the cause, with the names of callers' keys."""
        named = _CALLER.sub(lambda found: self._key_name(found[0]) or found[0], text)
        return self._redact(named)[-_LONGEST_TEXT:]

    def engine(self, one: EngineReport, status: PoolStatus, shift: float) -> Json:
        at = _Times(shift)
        model = one.spec.model
        return {
            "id": id_of(one.key),
            "model": one.key.repo_id,
            "commit": one.key.commit,
            "branch": model.branch,
            "names": self._names.of(one.spec),
            "flags": [self._redact(flag) for flag in one.key.flags],
            "task": model.task.value,
            "access": model.access.value,
            "listed": one.key.listed,
            "state": _word(one.state),
            "since": at(one.since),
            "generation": one.generation,
            "devices": list(one.devices),
            "claim_bytes": one.claim,
            "held_bytes": one.held,
            "measured_bytes": status.measured.get(one.generation),
            "files_bytes": one.size,
            "cache_tokens": one.tokens,
            "context_length": status.context_lengths.get(one.generation),
            "in_flight": self._requests(one.in_flight),
            "waiting": {**self._requests(one.waiting), **_wait(one, at)},
            "download": _download(one.download),
            "standby": _standby(one, at),
            "pinned": one.pinned,
            "pinned_by_file": one.spec.pinned,
            "unloading": one.unloads,
            "group": one.spec.group.name if one.spec.group else None,
            "max_concurrency": one.spec.max_concurrency,
            "max_queue": one.spec.max_queue,
            "last_used": at(one.last_used),
            "expires_at": at(one.expires_at),
            "evicted_next": one.evicted_next,
            "starts": one.starts,
            "last_start": _start(one.last_start, at),
            "start_phases": dict(status.phases.get(one.generation, {})),
            "failures": one.failures,
            "last_failure": self._failure(one.last_failure, at),
            "retry_at": at(one.retry_at),
            "suspected_until": at(one.suspected_until),
        }

    def _failure(self, one: LastFailure | None, at: _Times) -> Json | None:
        if one is None:
            return None
        return {"kind": one.kind.value, "at": at(one.at), "text": self._text(one.text)}


@dataclass(frozen=True, slots=True)
class _Times:
    """Turns the pool's times into seconds since 1970."""

    shift: float

    def __call__(self, at: float | None) -> float | None:
        return None if at is None or at == inf else round(at + self.shift, 3)


def _device(one: DeviceReport, shift: float) -> Json:
    return {
        "index": one.index,
        "budget_bytes": one.budget,
        "held_bytes": one.held,
        "standby_bytes": one.standby,
        "written_off_bytes": one.written_off,
        "free_bytes": one.free,
        "measured_at": _Times(shift)(one.measured_at),
    }


def _disk(one: DiskUsage | None) -> Json | None:
    if one is None:
        return None
    return {
        "used_bytes": one.used,
        "budget_bytes": one.budget,
        "free_bytes": one.free,
        "reserve_bytes": one.reserve,
    }


def _wait(one: EngineReport, at: _Times) -> Json:
    if one.wait is None:
        return {
            "reason": None,
            "seconds": None,
            "expected_seconds": None,
            "elapsed_seconds": None,
            "overdue": False,
            "guessed": False,
            "room_seconds": None,
            "leaving": [],
            "gives_up_at": None,
        }
    forecast = one.wait.forecast
    return {
        "reason": _word(forecast.reason.name.lower()),
        "seconds": forecast.seconds,
        "expected_seconds": forecast.expected,
        "elapsed_seconds": forecast.elapsed,
        "overdue": forecast.overdue,
        "guessed": forecast.guessed,
        "room_seconds": forecast.room_in,
        "leaving": [id_of(key) for key in one.wait.leaving],
        "gives_up_at": at(one.wait.gives_up_at),
    }


def _download(one: Download | None) -> Json | None:
    if one is None:
        return None
    return {
        "done_bytes": one.done,
        "total_bytes": one.total,
        "bytes_per_second": one.rate,
        "seconds": one.seconds,
        "queued": one.queued,
    }


def _standby(one: EngineReport, at: _Times) -> Json | None:
    process = one.standby
    if process is None:
        return None
    return {
        "generation": process.generation,
        "since": at(process.since),
        "stands_since": at(process.stood_at),
    }


def _start(one: LastStart | None, at: _Times) -> Json | None:
    if one is None:
        return None
    stages = [{"stage": _word(name), "seconds": seconds} for name, seconds in one.stages]
    return {"at": at(one.at), "seconds": one.seconds, "stages": stages}


def _word(text: str) -> str:
    return str(text).replace(" ", "_")
