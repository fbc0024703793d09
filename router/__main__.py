"""The command line, and the composition root: the only file that imports everything."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from engines import flags
from engines.command import Device
from engines.memory import Gauge, gauge
from engines.sglang import SglangLauncher
from router import models_file, redaction
from router.admission import Admission
from router.catalogue import Catalogue
from router.core.journal import Journal, replay
from router.core.pool import EnginePool
from router.core.slots import Limits
from router.credentials import Credentials
from router.download import SnapshotDownloader
from router.entitlements import CachedHub
from router.hub import HuggingFaceHub
from router.preload import preload
from router.relay import HttpRelay
from router.service import Service
from router.settings import Platform, Settings, SettingsError
from router.transports.http import HttpServer

_log = logging.getLogger("router")

_LEAVE_LATER = 1.0  # seconds for the last bytes of a drained answer to be sent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m router", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve over HTTP (the default)")
    demo = commands.add_parser("demo", help="show the main job: no GPU, network or token")
    demo.add_argument("--keep", action="store_true", help="leave it serving afterwards")
    again = commands.add_parser("replay", help="show what the pool did, from POOL_JOURNAL")
    again.add_argument("journal", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.command == "demo":
        return _demo(keep=chosen.keep)
    if chosen.command == "replay":
        return _replay(chosen.journal)
    return _serve(os.environ)


def _serve(environ: Mapping[str, str]) -> int:
    try:
        settings = Settings.from_environ(environ)
        if settings.platform is Platform.QUEUE:
            # Nobody stands between this server and its callers, whatever else runs here.
            settings = Settings.from_environ(environ, Platform.PLAIN)
        catalogue = models_file.catalogue(settings)
        credentials = Credentials.read(settings, catalogue, environ)
        engine_flags = flags.flags(environ)
        for model in catalogue.models:
            flags.refuse_reserved(model.flags)
    except (SettingsError, ValueError) as error:
        print(f"The settings can't be used: {error}", file=sys.stderr)  # noqa: T201
        return 2
    known = (*settings.secrets, *credentials.secrets)
    redaction.configure(settings.log_level, settings.log_format, known, sys.stderr)
    for warning in flags.warnings(environ):
        _log.warning("%s", warning)
    _log.info("%s", credentials.explain())
    worker = Worker(settings, catalogue, credentials, engine_flags, environ)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(worker.serve())


class Worker:
    """Everything, put together. Nothing is opened before the loop runs."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        credentials: Credentials,
        engine_flags: tuple[str, ...],
        environ: Mapping[str, str],
    ) -> None:
        self._settings, self._catalogue = settings, catalogue
        self._credentials, self._engine_flags = credentials, engine_flags
        self._environ = environ
        self._told_to_leave = asyncio.Event()

    async def serve(self) -> int:
        """Serve over HTTP until a signal or a broken machine; return the exit status."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            pool = self._pool(stack)
            service = await self._service(pool, stack)
            server = HttpServer(
                service,
                api_keys=[key.reveal() for key in settings.api_keys],
                max_body=settings.max_body_bytes,
                request_timeout=settings.request_timeout,
            )
            try:
                port = await server.start(settings.host, settings.port, settings.port_health)
            except OSError as error:
                _log.critical("can't listen on %s:%d: %s", settings.host, settings.port, error)
                return 1
            _log.info("listening on http://%s:%d", settings.host, port)
            await self._until_leaving(pool, service)
            service.leaving = True
            _log.info("leaving: requests in flight get %g s", settings.drain_timeout)
            await asyncio.gather(
                server.stop(settings.drain_timeout + _LEAVE_LATER),
                pool.shut_down(settings.drain_timeout),
            )
        _log.info("all engines are gone")
        return 1 if pool.at_fault.is_set() else 0

    async def _until_leaving(self, pool: EnginePool, service: Service) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, pool)

        async def warm_up() -> None:
            await preload(self._catalogue, service.preload)
            service.ready = True
            _log.info("ready")

        warming = asyncio.create_task(warm_up())
        reasons = [
            asyncio.create_task(event.wait()) for event in (self._told_to_leave, pool.at_fault)
        ]
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (warming, *reasons):
                task.cancel()
            await asyncio.gather(warming, *reasons, return_exceptions=True)

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
        )

    def _pool(self, stack: AsyncExitStack) -> EnginePool:
        settings, memory = self._settings, gauge(self._environ)
        limits = self._limits(memory)
        _log.info("engines run on %s with %d bytes of memory", memory.device, limits.budget)
        record: Journal | None = None
        if settings.pool_journal is not None:
            record = Journal(stack.enter_context(settings.pool_journal.open("w")), limits)
        return EnginePool(
            limits,
            downloader=SnapshotDownloader(
                settings.hf_hub_cache,
                self._environ,
                max_model_bytes=settings.max_model_bytes or memory.total(),
                allow_unsafe_weights=settings.allow_unsafe_weights,
            ),
            launcher=SglangLauncher(
                python=settings.engine_python,
                environ=self._environ,
                hf_token=settings.hf_token,
                start_timeout=settings.engine_start_timeout,
                device=Device(memory.device),
                media_domains=sorted(settings.media_domains),
                log=logging.getLogger("router.engine"),
            ),
            gauge=memory,
            clock=time.monotonic,
            record=record,
        )

    async def _service(self, pool: EnginePool, stack: AsyncExitStack) -> Service:
        """The service on `pool`; what it needs is closed with `stack`."""
        settings = self._settings
        ca_file = str(settings.ssl_cert_file) if settings.ssl_cert_file else None
        direct = HuggingFaceHub(settings.hf_endpoint, ca_file=ca_file)
        stack.push_async_callback(direct.close)
        hub = CachedHub(direct, time.monotonic, public_grace=settings.public_grace)
        stack.push_async_callback(hub.close)
        admission = Admission(
            hub,
            catalogue=self._catalogue,
            credentials=self._credentials,
            allowed=settings.allowed_models,
            running=pool.running,
            clock=time.monotonic,
        )
        stack.push_async_callback(admission.close)
        relay = HttpRelay()
        stack.push_async_callback(relay.close)
        return Service(
            settings,
            catalogue=self._catalogue,
            admission=admission,
            pool=pool,
            relay=relay,
            flags=self._engine_flags,
            salt=secrets.token_bytes(32),
            clock=time.monotonic,
        )


def _replay(journal: Path) -> int:
    with journal.open() as lines:
        for step in replay(lines):
            print(f"{step.now:.3f} {step.event}")  # noqa: T201
            for action in step.actions:
                print(f"    -> {action}")  # noqa: T201
    return 0


def _demo(*, keep: bool) -> int:
    if importlib.util.find_spec("tests") is None:
        print("The demo needs a checkout of the repository.", file=sys.stderr)  # noqa: T201
        return 2
    status: int = importlib.import_module("tests.demo").main(keep=keep)
    return status


if __name__ == "__main__":
    sys.exit(main())
