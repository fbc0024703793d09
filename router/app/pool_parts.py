"""Builds the pool and the parts that carry out its decisions: disk, downloads, engines."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from engines.command import Device
from engines.kernel_cache import KernelCache
from engines.launcher import SglangLauncher
from engines.memory import Gauge, HostGauge, described, gauge
from engines.read_ahead import ReadAhead
from engines.sleep_memory import sleep_memory
from router.app.configuration import Configuration, history_file, machine
from router.clock import WorkerClock
from router.config import files
from router.config.catalog import Catalog
from router.config.settings import Settings
from router.downloads.disk import Disk
from router.downloads.downloader import SnapshotDownloader
from router.downloads.places import Places
from router.downloads.volume_lock import LockContender, VolumeLock
from router.pool.engine_log import EngineLog
from router.pool.history_file import HistoryKeeper
from router.pool.pool import EnginePool
from router.scheduler.limits import Eviction, Limits
from router.scheduler.machine import Scheduler
from router.scheduler.trace import Journal
from router.side_process import SideProcesses

_log = logging.getLogger("router")

# Bytes of a GPU that a process at its gate may hold: a CUDA context. An estimate.
_AT_THE_GATE = 640 << 20


class PoolParts:
    """Builds each part once. `stack` closes their resources."""

    def __init__(
        self,
        configuration: Configuration,
        clock: WorkerClock,
        stack: AsyncExitStack,
        engine_log: EngineLog,
    ) -> None:
        self._configuration, self._settings = configuration, configuration.settings
        self._clock, self._stack, self._engine_log = clock, stack, engine_log
        self.memory = gauge(configuration.environ)
        self._budget = self._settings.gpu_memory_budget or self.memory.free()
        self.aside = SideProcesses()
        stack.push_async_callback(self.aside.close)
        self.disk = self._disk()
        self.downloads = self._downloads()
        self.history = HistoryKeeper(history_file(configuration, self.memory.name()))
        self.pool = self._pool()

    def _disk(self) -> Disk:
        settings, models = self._settings, self._configuration.catalog.models
        return Disk(
            settings.hf_hub_cache,
            budget=settings.disk_budget,
            operators=[model.ref for model in models if model.ref is not None],
            private_ttl=settings.private_idle_ttl if settings.remove_private_files else None,
        )

    def _downloads(self) -> SnapshotDownloader:
        settings, disk, memory = self._settings, self.disk, self.memory
        return SnapshotDownloader(
            settings.hf_hub_cache,
            self._configuration.environ,
            caches=settings.hub_caches,
            private=disk.private if settings.remove_private_files else None,
            aside=self.aside,
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
                budget=self._budget,
            ),
        )

    def _pool(self) -> EnginePool:
        settings, memory = self._settings, self.memory
        asleep = sleep_memory(
            settings.sleep_memory,
            HostGauge(),
            on_gpu=memory.device != HostGauge.device,
            has_saver=self._configuration.has_saver,
            environ=self._configuration.environ,
        )
        limits = _limits(
            settings, self._configuration.catalog, memory, self._budget, asleep.size
        )
        if limits.standby and not self._configuration.has_gate:
            limits = replace(limits, standby=0)
            _log.info("engine processes don't start ahead: this SGLang has no gate")
        for level, text in described(memory, limits.budget):
            _log.log(level, "%s", text)
        _log.info("%s", asleep.text)
        earlier = self.history.load()
        record: Journal | None = None
        if settings.pool_journal is not None:
            stream = self._stack.enter_context(files.append_privately(settings.pool_journal))
            record = Journal(stream, limits, earlier)
        return EnginePool(
            Scheduler(limits, self.history.history),
            downloader=self.downloads,
            launcher=ReadAhead(self._launcher(), HostGauge().free),
            gauges=memory.each,
            clock=self._clock,
            record=record,
            validate=settings.log_level == "DEBUG",
        )

    def _launcher(self) -> SglangLauncher:
        settings, memory = self._settings, self.memory
        return SglangLauncher(
            python=settings.engine_python,
            environ=self._configuration.environ,
            hf_token=settings.hf_token,
            start_timeout=settings.engine_start_timeout,
            device=Device(memory.device),
            user=self._configuration.engine_user,
            media_domains=sorted(settings.media_domains),
            kernels=self._kernels(),
            aside=self.aside,
            log=logging.getLogger("router.engine"),
            keep=self._engine_log.add,
        )

    def _kernels(self) -> KernelCache | None:
        """The kernel cache; None if the GPU or SGLang's version is unknown."""
        kind, sglang = self.memory.kind(), self._configuration.sglang
        if not (kind and sglang):
            return None

        def contend(folder: Path) -> Callable[[], VolumeLock | None]:
            return LockContender(folder, secrets.token_hex(16)).poll

        volume = self._settings.hf_hub_cache
        return KernelCache(volume, f"SGLang {sglang}, {kind}", contend)


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
        # If the operator names several models, no model has the device to itself for long.
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
