"""Creates the report of the pool's state from the slots. Changes nothing.

It looks at each known model once, and in detail only at those that it shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf

from router.scheduler.events import DIGEST_SHOWN
from router.scheduler.forecast import Download, Forecast
from router.scheduler.lifecycle import State
from router.scheduler.planner import plan
from router.scheduler.report import (
    CallersShare,
    DeviceReport,
    EngineReport,
    PoolReport,
    RequestsReport,
    StandbyReport,
    WaitReport,
)
from router.scheduler.slot_index import SlotIndex
from router.scheduler.state import Slot
from router.scheduler.view import View
from router.scheduler.waiting import Caller

MOST_ENGINES = 200  # in the report
MOST_CALLERS = 8  # per model

Downloads = Callable[[int], Download]  # the progress of a download by its number


@dataclass(frozen=True, slots=True)
class Measurement:
    """The latest measurement of the free memory on each device."""

    free: Sequence[int]
    at: float


def make_report(
    view: View,
    forecast: Callable[[Slot, Download | None], Forecast],
    downloads: Downloads,
    *,
    measured: Measurement | None,
    waiting: int,
    shutting_down: bool,
) -> PoolReport:
    """`waiting`: the number of waiting requests, for all models."""
    known = _Known(view, forecast, downloads)
    shown = list(_shown(view.index, view.now))
    return PoolReport(
        now=view.now,
        engines=tuple(map(known.engine, shown[:MOST_ENGINES])),
        more_engines=max(0, len(shown) - MOST_ENGINES),
        devices=tuple(_device(view, measured, one) for one in range(view.limits.devices)),
        loaded=view.index.loaded,
        waiting=waiting,
        shutting_down=shutting_down,
    )


def _shown(index: SlotIndex, now: float) -> Iterator[Slot]:
    """The models that are up, loading, waited for, prestarted or failed, each once."""
    off = chain(index.in_state(State.COLD).values(), index.in_state(State.FETCHED).values())
    yield from dict.fromkeys(
        chain(
            index.engines,
            index.in_state(State.FETCHING).values(),
            index.queued.values(),
            index.standby.values(),
            (one for one in off if one.failures or one.pin or _crashed(one, now)),
        )
    )


def _crashed(slot: Slot, now: float) -> bool:
    """Whether a crash with several suspects was not followed by a start."""
    return slot.suspicion.active(now) and slot.track.has_failed


def _device(view: View, measured: Measurement | None, device: int) -> DeviceReport:
    ahead = filter(None, (slot.standby for slot in view.index.standby.values()))
    return DeviceReport(
        index=device,
        budget=view.limits.budget,
        held=view.index.held[device],
        standby=view.limits.standby_claim * sum(device in one.devices for one in ahead),
        written_off=view.written_off[device] if view.written_off else 0,
        free=measured.free[device] if measured else None,
        measured_at=measured.at if measured else None,
    )


class _Known:
    """Values that are computed once for all engines."""

    def __init__(
        self,
        view: View,
        forecast: Callable[[Slot, Download | None], Forecast],
        downloads: Downloads,
    ) -> None:
        self._view, self._forecast, self._downloads = view, forecast, downloads
        self._rooms = plan(view).rooms if view.index.queued else {}
        self._order = {slot: place for place, slot in enumerate(_by_eviction(view), 1)}

    def engine(self, slot: Slot) -> EngineReport:
        track, now = slot.track, self._view.now
        download = self._downloads(slot.attempt) if slot.state is State.FETCHING else None
        return EngineReport(
            key=slot.key,
            spec=slot.spec,
            state=slot.state,
            since=slot.moved_at,
            generation=slot.generation,
            size=slot.size,
            claim=slot.claim,
            held=slot.held,
            tokens=slot.tokens,
            devices=slot.devices if slot.held else (),
            in_flight=_requests(Counter(one.caller for one in slot.leases.values())),
            waiting=_requests(slot.queue.by_caller()),
            wait=self._wait(slot, download) if slot.queue else None,
            download=download,
            standby=_standby(slot),
            pinned=slot.pinned,
            unloads=slot.unloads and slot.state in _UP,
            last_used=slot.used_at,
            expires_at=_time(slot.expires_at),
            evicted_next=self._order.get(slot),
            starts=track.starts,
            last_start=track.last_start,
            failures=slot.failures,
            last_failure=track.last_failure,
            retry_at=slot.retry_at if slot.retry_at > now else None,
            suspected_until=slot.suspicion.until if slot.suspicion.active(now) else None,
        )

    def _wait(self, slot: Slot, download: Download | None) -> WaitReport:
        leaving = self._rooms.get(slot, ())
        return WaitReport(
            forecast=self._forecast(slot, download),
            leaving=tuple(one.key for one in leaving),
            gives_up_at=slot.queue.next_deadline,
        )


_UP = (State.READY, State.DRAINING, State.ASLEEP)


def _by_eviction(view: View) -> Iterator[Slot]:
    """The engines in eviction order, idle ones first."""
    up = [
        slot for state in _UP for slot in view.index.in_state(state).values() if not slot.pinned
    ]
    for idle in (True, False):
        yield from view.by_loss(slot for slot in up if slot.idle is idle)


def _standby(slot: Slot) -> StandbyReport | None:
    one = slot.standby
    return StandbyReport(one.generation, one.since, one.stood_at) if one else None


def _requests(by_caller: Counter[Caller]) -> RequestsReport:
    most = by_caller.most_common(MOST_CALLERS)
    return RequestsReport(
        requests=by_caller.total(),
        callers=tuple(
            CallersShare(caller if caller is None else caller[:DIGEST_SHOWN], requests)
            for caller, requests in most
        ),
        more_callers=len(by_caller) - len(most),
    )


def _time(at: float) -> float | None:
    return at if abs(at) < inf else None
