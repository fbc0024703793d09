"""The composition root: the only module that knows every part, and puts them together."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from engines import flags
from engines.command import Device
from engines.launcher import SglangLauncher
from engines.memory import Gauge, gauge
from router.access.authorize import Admission
from router.access.credentials import Credentials
from router.clock import WorkerClock, watch
from router.config import models_file
from router.config.catalog import Catalog
from router.config.settings import Platform, Settings
from router.downloads.downloader import SnapshotDownloader
from router.downloads.last_used import LastUsed
from router.downloads.retention import PrivateModelRetention
from router.hub.cache import CachedHub
from router.hub.client import HuggingFaceHub
from router.pool.pool import EnginePool
from router.requests.preload import preload
from router.requests.service import Service
from router.requests.upstream import HttpRelay
from router.scheduler.machine import Scheduler
from router.scheduler.state import Limits
from router.scheduler.trace import Journal
from router.secrets import Secret

_log = logging.getLogger("router")


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that the operator wrote, read once."""

    environ: Mapping[str, str]
    settings: Settings
    catalog: Catalog
    credentials: Credentials
    engine_flags: tuple[str, ...]

    @classmethod
    def read(
        cls, environ: Mapping[str, str], platform: Platform | None = None
    ) -> Configuration:
        """Raises `SettingsError`."""
        settings = Settings.from_environ(environ, platform)
        catalog = models_file.catalog(settings)
        credentials = Credentials.read(settings, catalog, environ)
        for model in catalog.models:
            flags.refuse_reserved(f"MODELS_CONFIG: flags of {model.name}", model.flags)
        return cls(environ, settings, catalog, credentials, flags.flags(environ))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must never be logged."""
        return (*self.settings.secrets, *self.credentials.secrets)


class Worker:
    """The pool and the service on top of it, from opening to the end of the last engine.

    Nothing is opened before a loop runs, and what is opened belongs to that loop.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._clock = WorkerClock()
        self._told_to_leave = asyncio.Event()
        self._pool: EnginePool | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Service]:
        """Put everything together; close what it held when the block ends."""
        async with AsyncExitStack() as stack:
            settings = self._settings
            last_used = LastUsed(settings.hf_hub_cache)
            memory = gauge(self._configuration.environ)
            downloads = self._make_downloads(memory, last_used)
            pool = self._pool = self._make_pool(memory, downloads, stack)
            direct = make_hub(settings)
            stack.push_async_callback(direct.close)
            hub = CachedHub(direct, self._clock, public_grace=settings.public_grace)
            stack.push_async_callback(hub.close)
            admission = Admission(
                hub,
                catalog=self._configuration.catalog,
                credentials=self._configuration.credentials,
                allowed=settings.allowed_models,
                running=pool.running,
                clock=self._clock,
            )
            stack.push_async_callback(admission.close)

            async def thawed() -> None:
                hub.invalidate()
                admission.invalidate()
                pool.thawed()
                await direct.reconnect()

            service = self._make_service(pool, admission, stack)
            if settings.remove_private_files and settings.private_idle_ttl is not None:
                retention = PrivateModelRetention(
                    settings.hf_hub_cache,
                    last_used,
                    ttl=settings.private_idle_ttl,
                    pool=pool,
                    downloads=downloads,
                )
                await stack.enter_async_context(self._behind(pool, retention.run()))
            # Until the end: without it the clock stands still, and no deadline strikes.
            async with self._behind(pool, watch(self._clock, thawed)):
                yield service

    @asynccontextmanager
    async def _behind(
        self, pool: EnginePool, work: Coroutine[None, None, None]
    ) -> AsyncIterator[None]:
        """Have `work` go on during the block. If it breaks down, the worker leaves."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (defect := task.exception()):
                _log.critical("a task of the worker broke down", exc_info=defect)
                pool.at_fault.set()

        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(ended)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def until_leaving(self, service: Service) -> None:
        """Bring up the models that are to be; return at a signal, or if the machine fails."""
        assert self._pool is not None, "open first"  # noqa: S101
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, self._pool)
        reasons = [
            loop.create_task(event.wait())
            for event in (self._told_to_leave, self._pool.at_fault)
        ]
        try:
            async with self._behind(self._pool, self._warm_up(service)):
                await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reason in reasons:
                reason.cancel()
            await asyncio.gather(*reasons, return_exceptions=True)
        service.leaving = True
        _log.info("leaving: requests in flight get %g s", self._settings.drain_timeout)

    async def drain(self) -> int:
        """Let requests end, then every engine; return the process's exit status."""
        assert self._pool is not None, "open first"  # noqa: S101
        await self._pool.shut_down(self._settings.drain_timeout)
        _log.info("all engines are gone")
        return 1 if self._pool.at_fault.is_set() else 0

    async def _warm_up(self, service: Service) -> None:
        await preload(self._configuration.catalog, service.preload)
        service.ready = True
        _log.info("ready")

    def _on_signal(self, pool: EnginePool) -> None:
        if self._told_to_leave.is_set():
            pool.hurry()  # asked twice: the operator will not wait for streams
        self._told_to_leave.set()

    def _limits(self, memory: Gauge) -> Limits:
        settings = self._settings
        return Limits(
            budget=settings.gpu_memory_budget or memory.free(),
            max_loaded=settings.max_loaded_models,
            max_queue=settings.max_queue,
            max_concurrency=settings.max_concurrency,
            min_residency=settings.min_residency,
            stall_timeout=settings.stall_timeout,
            fetch_linger=settings.fetch_linger,
            max_queue_per_caller=settings.max_queue_per_caller,
            max_starts_per_caller=settings.max_starts_per_caller,
            max_models_per_caller=settings.max_models_per_caller,
            max_download_per_caller=settings.max_download_per_caller,
        )

    def _make_downloads(self, memory: Gauge, last_used: LastUsed) -> SnapshotDownloader:
        settings = self._settings
        return SnapshotDownloader(
            settings.hf_hub_cache,
            self._configuration.environ,
            caches=settings.hub_caches,
            last_used=last_used if settings.remove_private_files else None,
            max_model_bytes=settings.max_model_bytes or memory.total(),
            allow_unsafe_weights=settings.allow_unsafe_weights,
        )

    def _make_pool(
        self, memory: Gauge, downloads: SnapshotDownloader, stack: AsyncExitStack
    ) -> EnginePool:
        settings, limits = self._settings, self._limits(memory)
        _log.info("engines run on %s with %d bytes of memory", memory.device, limits.budget)
        record: Journal | None = None
        if settings.pool_journal is not None:
            record = Journal(stack.enter_context(settings.pool_journal.open("a")), limits)
        return EnginePool(
            Scheduler(limits),
            downloader=downloads,
            launcher=SglangLauncher(
                python=settings.engine_python,
                environ=self._configuration.environ,
                hf_token=settings.hf_token,
                start_timeout=settings.engine_start_timeout,
                device=Device(memory.device),
                media_domains=sorted(settings.media_domains),
                log=logging.getLogger("router.engine"),
            ),
            gauge=memory,
            clock=self._clock,
            record=record,
        )

    def _make_service(
        self, pool: EnginePool, admission: Admission, stack: AsyncExitStack
    ) -> Service:
        relay = HttpRelay()
        stack.push_async_callback(relay.close)
        return Service(
            self._settings,
            catalog=self._configuration.catalog,
            admission=admission,
            pool=pool,
            relay=relay,
            flags=self._configuration.engine_flags,
            salt=secrets.token_bytes(32),
            clock=self._clock,
        )


def make_hub(settings: Settings) -> HuggingFaceHub:
    ca_file = str(settings.ssl_cert_file) if settings.ssl_cert_file else None
    return HuggingFaceHub(settings.hf_endpoint, ca_file=ca_file)
