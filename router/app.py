"""The composition root: the only module that knows every part, and puts them together.

`Assembly` builds the parts, `running` runs and drains them, and `Worker` is what a transport
sees of both.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from engines import flags
from engines.command import Device
from engines.declared_memory import check_declared
from engines.interpreter import Finding
from engines.kernel_cache import KernelCache
from engines.launcher import SglangLauncher
from engines.lodging import User, engine_user
from engines.memory import Gauge, HostGauge, described, find_gpus, gauge
from engines.places import check_places
from engines.read_ahead import ReadAhead
from engines.sleep_memory import sleep_memory
from router import __version__
from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.access.keyring import Keyring
from router.admin.admin import Admin
from router.admin.disk_meter import DiskMeter
from router.admin.engine_metrics import EngineMetrics, ScrapedEngine, has_metrics
from router.admin.exposition import Exposition
from router.admin.gauges import PoolGauges
from router.admin.last_hour import LastHour
from router.admin.loads import Loads
from router.admin.metrics import Metrics
from router.admin.names import Names
from router.admin.past import Past
from router.admin.recent import RecentRequests
from router.admin.reload import Reload
from router.admin.state import StateWriter, WorkerFacts
from router.clock import WorkerClock, watch
from router.config import files, operator_keys, operator_models
from router.config.caller_keys import CallerKeys
from router.config.catalog import Catalog
from router.config.settings import Platform, Settings
from router.downloads.cache_check import snapshot_on_disk
from router.downloads.disk import Disk
from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_used import LastUsed
from router.downloads.offline import OfflineHub
from router.downloads.places import Places
from router.downloads.volume_lock import LockContender, VolumeLock
from router.hub.cache import CachedHub
from router.hub.client import HuggingFaceHub
from router.hub.measured import MeasuredHub
from router.logs import Redactor
from router.pool.engine_log import EngineLog
from router.pool.history_file import HistoryFile, HistoryKeeper
from router.pool.pool import EnginePool
from router.repository.conditions import Machine
from router.repository.directory import task_of_directory
from router.repository.spread import spanned
from router.requests.activity import Activity
from router.requests.recorder import Recorder
from router.requests.service import Service
from router.requests.upstream import HttpUpstream
from router.running import Run, Work, drain, in_background
from router.scheduler.machine import Scheduler
from router.scheduler.state import Eviction, Limits
from router.scheduler.trace import Journal
from router.secrets import Secret
from router.side_process import SideProcesses
from router.tasks import cancel

_log = logging.getLogger("router")

# Bytes of a GPU that a process at its gate may hold: a CUDA context. Not measured here.
_AT_THE_GATE = 640 << 20
_MORE_MODELS = "SGLANG_EXTERNAL_MODEL_PACKAGE"  # SGLang's: architectures from elsewhere


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the operator configured, read once."""

    environ: Mapping[str, str]
    settings: Settings
    catalog: Catalog
    credentials: Credentials
    engine_flags: tuple[str, ...]
    engine_user: User | None
    keys: CallerKeys = field(default_factory=CallerKeys)
    knows_sglang: bool = True  # the engines run the release that the tables are about
    has_saver: bool = False  # engines can sleep
    has_gate: bool = False  # an engine's process can be started ahead
    sglang: str = ""  # the engines' version, as far as it is known
    engines_lack: tuple[str, ...] = ()  # packages that tokenizers may need

    @classmethod
    def read(
        cls, environ: Mapping[str, str], platform: Platform | None = None
    ) -> Configuration:
        """Raises `SettingsError`."""
        settings = Settings.from_environ(environ, platform)
        files.check(settings)
        catalog = operator_models.catalog(settings).judged(task_of_directory)
        credentials = Credentials.read(settings, catalog, environ)
        for model in catalog.models:
            flags.refuse_reserved(f"MODELS_CONFIG: flags of {model.name}", model.flags)
        user, common = engine_user(settings.engine_user), flags.flags(environ)
        on_disk = partial(snapshot_on_disk, caches=settings.hub_caches)
        check_declared(catalog.models, common, on_disk)
        check_places(catalog.models, common, lambda: len(find_gpus(environ)))
        keys = operator_keys.keys(settings, environ)
        return cls(environ, settings, catalog, credentials, common, user, keys)

    def with_engines(self, found: Finding) -> Configuration:
        """With what `ENGINE_PYTHON` has."""
        return replace(
            self,
            knows_sglang=not found.is_warning,
            has_saver=found.has_saver,
            has_gate=found.has_gate,
            sglang=found.version,
            engines_lack=found.lacks,
        )

    @property
    def gpus(self) -> int:
        """How many GPUs the largest engine needs, as the operator's flags say."""
        own = [(), *(model.flags for model in self.catalog.models)]
        return max(spanned((*self.engine_flags, *flags)) for flags in own)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must never be logged, and can change at a restart alone."""
        return (*self.settings.secrets, *self.credentials.secrets)

    @property
    def secrets_and_keys(self) -> tuple[Secret, ...]:
        """All that must never be logged."""
        return (*self.secrets, *self.keys.secrets)


class Witnesses:
    """What hears of all that happens, and tells the operator."""

    def __init__(self, redact: Redactor) -> None:
        self.redact = redact
        self.metrics, self.engine_log = Metrics(), EngineLog(redact)
        self.recorder = Recorder(Activity(), [self.metrics.request], redact=redact)


@dataclass(frozen=True, slots=True)
class Parts:
    """What `Assembly` builds. `background` runs for as long as the worker is open."""

    pool: EnginePool
    service: Service
    run: Run
    admin: Admin
    past: Past
    exposition: Exposition
    background: Sequence[Work]


class Assembly:
    """Builds the parts. `stack` closes what they hold, in reverse order."""

    def __init__(
        self,
        configuration: Configuration,
        clock: WorkerClock,
        stack: AsyncExitStack,
        witnesses: Witnesses,
        keys: Keyring,
    ) -> None:
        self._configuration, self._settings = configuration, configuration.settings
        self._clock, self._stack, self._witnesses = clock, stack, witnesses
        self._keys = keys
        self._tokens = dict(configuration.credentials.of_models)

    def build(self) -> Parts:
        memory = gauge(self._configuration.environ)
        budget = self._settings.gpu_memory_budget or memory.free()
        disk = self._disk()
        aside = SideProcesses()
        self._stack.push_async_callback(aside.close)
        downloads = self._downloads(memory, budget, disk, aside)
        keeper = self._history(memory)
        pool = self._pool(memory, budget, downloads, aside, keeper)
        direct = any_hub(self._configuration, disk.public, aside)
        self._stack.push_async_callback(direct.close)
        hub = CachedHub(
            MeasuredHub(direct, self._witnesses.metrics.hub),
            self._clock,
            public_grace=self._settings.public_grace,
            requests=self._settings.hub_requests,
        )
        self._stack.push_async_callback(hub.close)
        admission = self._admission(hub, pool)

        async def thawed() -> None:
            hub.invalidate()
            admission.invalidate()
            pool.thawed()
            await direct.reconnect()

        background: list[Work] = [
            partial(watch, self._clock, thawed),
            *disk.kept_in_order(pool, downloads),
            keeper.run,
        ]
        upstream = HttpUpstream()
        self._stack.push_async_callback(upstream.close)
        service = self._service(pool, admission, aside, upstream)
        reload = Reload(
            self._configuration,
            partial(Configuration.read, self._configuration.environ, self._settings.platform),
            partial(self._reconfigure, admission, service, disk, direct),
            pool,
        )
        run = Run(pool)
        admin, past = self._operations(pool, service, run, disk, reload)
        exposition = self._exposition(pool, admission, upstream, admin)
        return Parts(pool, service, run, admin, past, exposition, background)

    def _disk(self) -> Disk:
        settings, models = self._settings, self._configuration.catalog.models
        return Disk(
            settings.hf_hub_cache,
            budget=settings.disk_budget,
            operators=[model.ref for model in models if model.ref is not None],
            private_ttl=settings.private_idle_ttl if settings.remove_private_files else None,
        )

    def _downloads(
        self, memory: Gauge, budget: int, disk: Disk, aside: SideProcesses
    ) -> SnapshotDownloader:
        settings = self._settings
        return SnapshotDownloader(
            settings.hf_hub_cache,
            self._configuration.environ,
            caches=settings.hub_caches,
            private=disk.private if settings.remove_private_files else None,
            aside=aside,
            last_used=disk.last_used,
            unfinished=disk.unfinished,
            public=disk.public,
            offline=settings.hf_hub_offline,
            space=disk.space,
            places=Places(settings.max_downloads),
            max_model_bytes=settings.max_model_bytes,
            allow_unsafe_weights=settings.allow_unsafe_weights,
            machine=machine(
                self._configuration,
                memory=memory.total(),
                cpu=memory.device == HostGauge.device,
                capability=memory.capability(),
                devices=len(memory.each),
                budget=budget,
            ),
        )

    def _history(self, memory: Gauge) -> HistoryKeeper:
        """Kept on the volume, where it is known what it is about."""
        return HistoryKeeper(history_file(self._configuration, memory.name()))

    def _pool(
        self,
        memory: Gauge,
        budget: int,
        downloads: SnapshotDownloader,
        aside: SideProcesses,
        keeper: HistoryKeeper,
    ) -> EnginePool:
        settings = self._settings
        asleep = sleep_memory(
            settings.sleep_memory,
            HostGauge(),
            on_gpu=memory.device != HostGauge.device,
            has_saver=self._configuration.has_saver,
            environ=self._configuration.environ,
        )
        limits = _limits(settings, self._configuration.catalog, memory, budget, asleep.size)
        if limits.standby and not self._configuration.has_gate:
            limits = replace(limits, standby=0)
            _log.info("no engine's process is started ahead: this SGLang knows no gate")
        for level, text in described(memory, limits.budget):
            _log.log(level, "%s", text)
        _log.info("%s", asleep.text)
        earlier = keeper.load()
        record: Journal | None = None
        if settings.pool_journal is not None:
            stream = self._stack.enter_context(files.append_privately(settings.pool_journal))
            record = Journal(stream, limits, earlier)
        return EnginePool(
            Scheduler(limits, keeper.history),
            downloader=downloads,
            launcher=ReadAhead(self._launcher(memory, aside), HostGauge().free),
            gauges=memory.each,
            clock=self._clock,
            record=record,
            validate=settings.log_level == "DEBUG",
        )

    def _launcher(self, memory: Gauge, aside: SideProcesses) -> SglangLauncher:
        settings = self._settings
        return SglangLauncher(
            python=settings.engine_python,
            environ=self._configuration.environ,
            hf_token=settings.hf_token,
            start_timeout=settings.engine_start_timeout,
            device=Device(memory.device),
            user=self._configuration.engine_user,
            media_domains=sorted(settings.media_domains),
            kernels=self._kernels(memory),
            aside=aside,
            log=logging.getLogger("router.engine"),
            keep=self._witnesses.engine_log.add,
        )

    def _kernels(self, memory: Gauge) -> KernelCache | None:
        """Where it is known what kernels are compiled for."""
        kind, sglang = memory.kind(), self._configuration.sglang
        if not (kind and sglang):
            return None

        def contend(folder: Path) -> Callable[[], VolumeLock | None]:
            return LockContender(folder, secrets.token_hex(16)).poll

        volume = self._settings.hf_hub_cache
        return KernelCache(volume, f"SGLang {sglang}, {kind}", contend)

    def _admission(self, hub: CachedHub, pool: EnginePool) -> Admission:
        admission = Admission(
            hub,
            catalog=self._configuration.catalog,
            credentials=self._configuration.credentials,
            allowed=self._settings.allowed_models,
            running=pool.running,
            clock=self._clock,
            keys=self._keys,
        )
        self._stack.push_async_callback(admission.close)
        return admission

    def _service(
        self,
        pool: EnginePool,
        admission: Admission,
        aside: SideProcesses,
        upstream: HttpUpstream,
    ) -> Service:
        return Service(
            self._settings,
            catalog=self._configuration.catalog,
            admission=admission,
            pool=pool,
            upstream=upstream,
            aside=aside,
            flags=self._configuration.engine_flags,
            salt=secrets.token_bytes(32),
            clock=self._clock,
        )

    def _exposition(
        self, pool: EnginePool, admission: Admission, upstream: HttpUpstream, admin: Admin
    ) -> Exposition:
        metrics, activity = self._witnesses.metrics, self._witnesses.recorder.activity
        metrics.name_operators(_repositories(self._configuration.catalog))
        self._stack.enter_context(pool.watch(metrics.pool, usual=False))
        gauges = PoolGauges(
            pool.report,
            downloaded=lambda: pool.downloaded,
            in_progress=lambda: len(activity.running),
            admissions=lambda: (admission.remembered, admission.decided),
            label=metrics.label,
        )

        def targets() -> Iterator[ScrapedEngine]:
            for spec, engine in pool.ready():
                if has_metrics(spec.flags):
                    label = metrics.label(spec.model.repo_id)
                    yield ScrapedEngine(label, engine.url, engine.door_key)

        versions = {"version": __version__, "sglang": self._configuration.sglang}
        engines = EngineMetrics(targets, upstream.get)
        return Exposition((metrics, gauges), engines, admin.standing, versions)

    def _reconfigure(
        self,
        admission: Admission,
        service: Service,
        disk: Disk,
        hub: HuggingFaceHub | OfflineHub,
        read: Configuration,
    ) -> None:
        """Take on other models and keys. What has begun may need former tokens."""
        self._witnesses.redact.learn(read.keys.secrets)
        self._witnesses.recorder.forget_names()
        if read.keys.warning:
            _log.warning("%s", read.keys.warning)
        self._keys.become(read.keys.keys)
        if self._settings.api_keys_file is not None:
            _log.info("%d keys of API_KEYS_FILE", len(read.keys.keys))
        self._configuration.catalog.become(read.catalog)
        self._witnesses.metrics.name_operators(_repositories(read.catalog))
        self._tokens |= read.credentials.of_models
        admission.configure(replace(read.credentials, of_models=self._tokens))
        service.note_directories()
        refs = [model.ref for model in read.catalog.models if model.ref is not None]
        disk.name_operators(refs)
        if isinstance(hub, OfflineHub):
            hub.name_operators(refs)

    def _operations(
        self,
        pool: EnginePool,
        service: Service,
        run: Run,
        disk: Disk,
        reload: Reload[Configuration],
    ) -> tuple[Admin, Past]:
        configuration, settings = self._configuration, self._settings
        started_at = time.time()

        def facts() -> WorkerFacts:
            health = service.health()
            return WorkerFacts(
                started_at,
                health.ready,
                health.leaving,
                max_queue=settings.max_queue,
                max_loaded=settings.max_loaded_models,
            )

        names = Names(configuration.catalog)
        writer = StateWriter(names, self._witnesses.redact, self._keys.name_of_shown)
        recent = RecentRequests(self._witnesses.recorder.activity)
        admin = Admin(
            pool,
            names=names,
            writer=writer,
            disk=DiskMeter(disk.usage, self._clock),
            loads=Loads(service),
            facts=facts,
            leave=run.leave,
            reload=reload,
            recent=recent,
        )
        run.on_hangup = admin.hang_up
        self._stack.push_async_callback(admin.close)
        journal = LastHour()
        self._stack.enter_context(pool.watch(journal.tell, usual=False))
        log = self._witnesses.engine_log
        past = Past(
            journal, writer, recent, log, names=names, clock=self._clock, wall=time.time
        )
        return admin, past


class Worker:
    """The service and the pool behind it, from opening to the end of the last engine.

    Nothing is opened before a loop runs, and what is opened belongs to that loop. `recorder`
    is for the transport: it keeps and tells what becomes of each request.
    """

    def __init__(
        self,
        configuration: Configuration,
        clock: WorkerClock | None = None,
        *,
        redactor: Redactor | None = None,
    ) -> None:
        """`redactor`: the log's, so that both know the same secrets."""
        self._configuration, self._clock = configuration, clock or WorkerClock()
        redactor = redactor or Redactor(configuration.secrets_and_keys)
        self._witnesses = Witnesses(redactor)
        settings, named = configuration.settings, configuration.keys.keys
        self.keys = Keyring(
            [key.reveal() for key in settings.api_keys],
            None if settings.api_keys_file is None else named,
            self._clock,
        )
        self._parts: Parts | None = None

    @property
    def recorder(self) -> Recorder:
        return self._witnesses.recorder

    @property
    def engine_log(self) -> EngineLog:
        return self._witnesses.engine_log

    @property
    def exposition(self) -> Exposition:
        """The metrics. Of an open worker."""
        return self._opened.exposition

    @property
    def admin(self) -> Admin:
        """For the operator. Of an open worker."""
        return self._opened.admin

    @property
    def past(self) -> Past:
        """What has happened, for the operator. Of an open worker."""
        return self._opened.past

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Service]:
        """Put everything together; close what it holds when the block ends."""
        async with AsyncExitStack() as stack:
            parts = Assembly(
                self._configuration, self._clock, stack, self._witnesses, self.keys
            ).build()
            self._parts = parts
            # Until the end: if nothing watches the clock it stands still, and no drain
            # deadline ever comes.
            background = in_background(parts.background, parts.pool.at_fault)
            stack.push_async_callback(cancel, asyncio.create_task(background))
            yield parts.service

    async def until_leaving(self, service: Service) -> None:
        """Preload models; return at a signal, or when the machine is at fault."""
        await self._opened.run.until_leaving(service, self._configuration.catalog)

    async def drain(self) -> int:
        """Let requests end, then stop every engine; return the process's exit status."""
        opened = self._opened
        status = await drain(opened.pool, self._configuration.settings.drain_timeout)
        await opened.admin.close()  # its listeners have seen the drain
        return status

    @property
    def _opened(self) -> Parts:
        assert self._parts is not None, "open first"  # noqa: S101
        return self._parts


def _limits(
    settings: Settings, catalog: Catalog, memory: Gauge, budget: int, sleep_memory: int
) -> Limits:
    return Limits(
        budget=budget,
        max_loaded=settings.max_loaded_models,
        max_queue=settings.max_queue,
        max_concurrency=settings.max_concurrency,
        patience=settings.swap_patience,
        eviction=Eviction(settings.eviction),
        # Where the operator names several models, one of them is not alone for long.
        whole_device=len(catalog.models) == 1 and (settings.max_loaded_models or 1) == 1,
        standby=settings.standby_engines,
        standby_claim=_AT_THE_GATE if memory.device == Device.CUDA else 0,
        stall_timeout=settings.stall_timeout,
        fetch_linger=settings.fetch_linger,
        max_downloads=settings.max_downloads,
        sleep_memory=sleep_memory,
        contested_start_timeout=settings.contested_start_timeout,
        max_queue_per_caller=settings.max_queue_per_caller,
        max_concurrency_per_caller=settings.max_concurrency_per_caller,
        max_starts_per_caller=settings.max_starts_per_caller,
        max_models_per_caller=settings.max_models_per_caller,
        max_download_per_caller=settings.max_download_per_caller,
        devices=len(memory.each),
    )


def _repositories(catalog: Catalog) -> Iterator[str]:
    """What the operator's models are called where they run."""
    return (one.ref.repo_id if one.ref else one.name for one in catalog.models)


def make_hub(settings: Settings, aside: SideProcesses | None = None) -> HuggingFaceHub:
    ca_file = str(settings.ssl_cert_file) if settings.ssl_cert_file else None
    return HuggingFaceHub(settings.hf_endpoint, ca_file=ca_file, aside=aside)


def any_hub(
    configuration: Configuration, public: LastUsed, aside: SideProcesses | None = None
) -> HuggingFaceHub | OfflineHub:
    """The Hub; offline, what stands in for it. `public`: when models were last seen public."""
    settings = configuration.settings
    if not settings.hf_hub_offline:
        return make_hub(settings, aside)
    models, own = configuration.catalog.models, configuration.credentials.secrets
    return OfflineHub(
        settings.hub_caches,
        operators=[model.ref for model in models if model.ref is not None],
        own_tokens=(*own, *([settings.hf_token] if settings.hf_token else [])),
        public=public,
        grace=settings.public_grace,
        unsafe_weights=settings.allow_unsafe_weights,
        task_of=task_of_directory,
    )


def machine(
    configuration: Configuration,
    *,
    memory: int,
    cpu: bool,
    capability: int | None,
    devices: int,
    budget: int,
) -> Machine:
    """What models are judged for. `memory`, `budget`: bytes of each device."""
    plain = configuration.knows_sglang and not configuration.environ.get(_MORE_MODELS)
    lacks = configuration.engines_lack
    return Machine(memory, cpu, capability, plain, lacks, devices, budget)


def history_file(configuration: Configuration, device: str) -> HistoryFile | None:
    """What was measured of such engines on such a device; None where either has no name."""
    if not (device and configuration.sglang):
        return None
    platform = f"SGLang {configuration.sglang}, {device}"
    return HistoryFile.of(configuration.settings.hf_hub_cache, platform)
