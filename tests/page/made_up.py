"""A made-up worker with one of everything that the page can show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from router.admin.names import Names
from router.admin.state import Json, StateWriter, WorkerFacts
from router.admin.timeline import Happening
from router.config.catalog import Catalog, OperatorModel
from router.downloads.disk import DiskUsage
from router.models import Access, EngineKey, EngineSpec, ModelRef, ResolvedModel, Task
from router.pool.status import PoolStatus
from router.requests.record import Record
from router.scheduler.forecast import Download, Forecast, Reason
from router.scheduler.history import Stage
from router.scheduler.lifecycle import State
from router.scheduler.report import (
    CallersShare,
    DeviceReport,
    EngineReport,
    PoolReport,
    RequestsReport,
    StandbyReport,
    WaitReport,
)
from router.scheduler.track import FailureKind, LastFailure, LastStart

GIB = 1 << 30
NOW = 10_000.0  # by the pool's clock
BUDGET = 76 * GIB
NOBODY = RequestsReport()
ANN, BEN = (hashlib.sha256(name).hexdigest()[:12] for name in (b"ann", b"ben"))
CATALOG = Catalog(
    (
        OperatorModel(source=ModelRef("Qwen/Qwen3-8B"), aliases=("default-chat",), pinned=True),
        OperatorModel(source=ModelRef("meta-llama/Llama-3.1-8B-Instruct")),
        OperatorModel(source=ModelRef("BAAI/bge-m3"), aliases=("embeddings",)),
        OperatorModel(source=ModelRef("Qwen/Qwen3-VL-4B-Instruct"), aliases=("vision",)),
    )
)


def callers(number: int, *, ann: int = 0) -> RequestsReport:
    """A report of so many requests, some of them by one caller."""
    shares = tuple(CallersShare(*one) for one in ((BEN, number - ann), (ANN, ann)) if one[1])
    return RequestsReport(number, shares)


def engine(
    repo_id: str,
    state: State,
    *,
    ago: float,
    files: float,
    claim: float,
    number: int,
    access: Access = Access.PUBLIC,
    task: Task = Task.GENERATE,
    listed: bool = False,
) -> EngineReport:
    """* `ago`: seconds in its state.
    * `files` and `claim`: GiB.
    * `number`: its generation.
    """
    commit = hashlib.sha1(repo_id.encode(), usedforsecurity=False).hexdigest()
    spec = EngineSpec(
        ResolvedModel(repo_id, commit, task, access, branch="main"), listed=listed
    )
    held = claim if state.claims else 0.0
    return EngineReport(
        key=spec.key,
        spec=spec,
        state=state,
        since=NOW - ago,
        generation=number,
        size=int(files * GIB),
        claim=int(claim * GIB),
        held=int(held * GIB),
        tokens=32_768,
        devices=(0,) if held else (),
        in_flight=NOBODY,
        waiting=NOBODY,
        wait=None,
        download=None,
        standby=None,
        pinned=False,
        unloads=False,
        last_used=None,
        expires_at=None,
        evicted_next=None,
        starts=1 if number else 0,
        last_start=None,
        failures=0,
        last_failure=None,
        retry_at=None,
        suspected_until=None,
    )


def started(seconds: float, *, ago: float, ahead: float = 0.0) -> LastStart:
    stages = ((Stage.PRESTART, ahead), (Stage.FROM_GATE, seconds - ahead / 4))
    return LastStart(NOW - ago, seconds, stages if ahead else ((Stage.START, seconds),))


def waits(
    reason: Reason,
    seconds: float,
    room: float | None = None,
    leaving: Sequence[EngineKey] = (),
    gives_up: float = 540.0,
) -> WaitReport:
    return WaitReport(Forecast(reason, seconds, room), tuple(leaving), NOW + gives_up)


CHAT = replace(
    engine("Qwen/Qwen3-8B", State.READY, ago=3100, files=15.3, claim=26, number=1, listed=True),
    in_flight=callers(6, ann=2),
    pinned=True,
    last_start=started(41.3, ago=3100),
)
LLAMA = replace(
    engine(
        "meta-llama/Llama-3.1-8B-Instruct",
        State.READY,
        ago=1260,
        files=15,
        claim=21,
        number=4,
        access=Access.GATED,
        listed=True,
    ),
    in_flight=callers(1),
    evicted_next=2,
    expires_at=NOW + 640,
    last_start=started(19.8, ago=1260, ahead=21.5),
    starts=2,
)
EMBEDDINGS = replace(
    engine(
        "BAAI/bge-m3",
        State.READY,
        ago=2400,
        files=2.2,
        claim=3.5,
        number=2,
        task=Task.EMBED,
        listed=True,
    ),
    evicted_next=1,
    last_start=started(12.1, ago=2400),
)
VISION = replace(
    engine(
        "Qwen/Qwen3-VL-4B-Instruct",
        State.STARTING,
        ago=14,
        files=8.9,
        claim=14,
        number=7,
        listed=True,
    ),
    waiting=callers(3, ann=1),
    wait=waits(Reason.STARTING, 17.0),
)
PRIVATE = replace(
    engine(
        "acme/support-7b",
        State.FETCHING,
        ago=21,
        files=14.2,
        claim=20,
        number=0,
        access=Access.PRIVATE,
    ),
    waiting=callers(2, ann=2),
    wait=waits(Reason.FETCHING, 74.0),
    download=Download(int(6.1 * GIB), int(14.2 * GIB), 29.0, rate=290.0 * (1 << 20)),
    standby=StandbyReport(8, NOW - 18, NOW - 3),
)
ASLEEP = replace(
    engine("Qwen/Qwen3-14B", State.ASLEEP, ago=320, files=27.5, claim=34, number=5),
    held=int(1.2 * GIB),
    waiting=callers(1, ann=1),
    wait=waits(Reason.ROOM, 38.0, 12.0, (LLAMA.key, EMBEDDINGS.key), gives_up=90.0),
    last_start=started(6.4, ago=1900),
    starts=3,
)
BROKEN = replace(
    engine(
        "someone/merged-13b-experiment", State.FETCHED, ago=130, files=24, claim=30, number=6
    ),
    failures=2,
    retry_at=NOW + 24,
    last_failure=LastFailure(
        FailureKind.START,
        NOW - 130,
        "exit status 1: ValueError: Unknown RoPE scaling type yarn2",
    ),
)
STOPPING = engine("Qwen/Qwen3-0.6B", State.STOPPING, ago=2, files=1.5, claim=3, number=3)
EVERYTHING = (CHAT, EMBEDDINGS, LLAMA, VISION, PRIVATE, ASLEEP, BROKEN, STOPPING)


def _happened() -> list[Happening]:
    def of(one: EngineReport, *lines: tuple[float, str]) -> list[Happening]:
        key, number = one.key, one.generation
        return [Happening(NOW - ago, what, key, number) for ago, what in lines]

    failed = (700, "starting"), (660, "start_failed"), (659, "gone"), (150, "starting")
    found = [
        *of(
            CHAT,
            (3240, "downloading"),
            (3142, "downloaded"),
            (3141, "starting"),
            (3100, "ready"),
        ),
        *of(EMBEDDINGS, (2470, "downloading"), (2450, "downloaded"), (2412, "starting")),
        *of(EMBEDDINGS, (2400, "ready")),
        *of(LLAMA, (2900, "downloading"), (2810, "downloaded"), (2809, "starting")),
        *of(LLAMA, (2750, "ready"), (1980, "evicted"), (1976, "gone")),
        *of(LLAMA, (1300, "prestarting"), (1280, "starting"), (1260, "ready")),
        *of(ASLEEP, (2200, "downloading"), (2010, "downloaded"), (1975, "starting")),
        *of(ASLEEP, (1900, "ready"), (1296, "falling_asleep"), (1281, "asleep")),
        *of(ASLEEP, (810, "waking"), (804, "awake"), (330, "falling_asleep"), (320, "asleep")),
        *of(BROKEN, *failed, (131, "start_failed"), (130, "gone")),
        *of(STOPPING, (560, "starting"), (542, "ready"), (2, "evicted")),
        *of(VISION, (60, "downloading"), (15, "downloaded"), (14, "starting")),
        *of(PRIVATE, (21, "downloading")),
    ]
    return sorted(found, key=lambda one: one.at)


def _requests() -> tuple[list[Record], list[Record]]:
    """The requests in progress, and the ended ones, latest first."""
    models = (CHAT, LLAMA, EMBEDDINGS, CHAT, ASLEEP, CHAT)
    running, ended = [], []
    for number in range(14):
        one = models[number % len(models)]
        record = Record(
            "/v1/embeddings" if one is EMBEDDINGS else "/v1/chat/completions",
            request_id=hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest(),
            caller=ANN if number % 3 else BEN,
        )
        record.model, record.at = one.key.repo_id, -9.0 * number - 1
        record.began += record.at
        record.queue = 0.0 if number % 5 else 11.25
        record.load = 6.4 if number % 9 == 4 else 0.0
        record.first = record.queue + record.load + 0.08 + 0.03 * (number % 4)
        record.prompt_tokens = 180 + 977 * (number % 4)
        if number < 3:
            running.append(record)
            continue
        record.end("ok" if number % 8 else "caller_left", status=200)
        record.total = record.first + 0.4 * (number % 7)
        record.completion_tokens = 0 if one is EMBEDDINGS else 40 * (number % 7)
        ended.append(record)
    lost = Record("/v1/chat/completions", request_id="trace-7f21", caller=ANN)
    lost.model, lost.at, lost.queue = BROKEN.key.repo_id, -131.0, 19.0
    lost.refuse("engine_failed", 502)
    lost.total = 39.2
    return running[::-1], [*ended[:5], lost, *ended[5:]]


class MadeUp:
    """`now`: seconds since 1970."""

    def __init__(self, now: float, engines: Sequence[EngineReport] = EVERYTHING) -> None:
        self._now, self._engines = now, tuple(engines)
        self._writer = StateWriter(Names(CATALOG), str)

    def state(self) -> Json:
        engines = self._engines
        held = sum(one.held for one in engines)
        standby, lost = (int(1.1 * GIB), int(1.6 * GIB)) if engines else (0, 0)
        device = DeviceReport(
            index=0,
            budget=BUDGET,
            held=held,
            standby=standby,
            written_off=lost,
            free=BUDGET - held,
            measured_at=NOW - 14,
        )
        waiting = sum(one.waiting.requests for one in engines)
        loaded = sum(one.held > 0 for one in engines)
        report = PoolReport(NOW, engines, 0, (device,), loaded, waiting, shutting_down=False)
        measured = {one.generation: one.held for one in engines if one.state is State.READY}
        lengths = dict.fromkeys(measured, 32_768)
        facts = WorkerFacts(self._now - 3300, True, False, max_queue=256, max_loaded=None)
        disk = DiskUsage(int(112.4 * GIB), 300 * GIB, 420 * GIB, 10 * GIB)
        phases = {
            one.generation: {"load_weight": 4.3, "kv_cache_allocation": 0.6, "cuda_graph": 3.2}
            for one in engines
            if one.state is State.READY
        }
        status = PoolStatus(report, measured, lengths, phases)
        return self._writer.state(status, facts, disk, self._now)

    def journal(self) -> Json:
        shift = self._now - NOW
        lines = _happened() if self._engines else []
        return {"events": [self._writer.happening(one, shift) for one in lines]}

    def activity(self) -> Json:
        running, ended = _requests() if self._engines else ([], [])
        return {"running": self._told(running), "ended": self._told(ended)}

    def _told(self, records: Sequence[Record]) -> list[Json]:
        return [{**one.fields(), "began": round(one.at + self._now, 3)} for one in records]
