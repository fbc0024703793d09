"""`serve` and `runpod`: run one worker until a signal or a fault of the machine."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from importlib.resources import files

import uvloop

from engines import flags
from engines.interpreter import InterpreterCheck
from router import logs
from router.app.configuration import Configuration
from router.app.worker import Worker
from router.commands.starting import tell_start
from router.commands.variables import misspelled_variables
from router.config.errors import told
from router.config.platform import Platform, detect, worker_id
from router.config.settings import Settings, SettingsError
from router.downloads.cache_check import cache_problem, is_full, is_on_disk
from router.http.admin_routes import AdminRoutes
from router.http.listening import cannot_listen
from router.http.metrics_routes import MetricsRoutes
from router.http.open_files import MOST_CONNECTIONS, raise_open_files
from router.http.page_routes import PageRoutes, read_page
from router.http.past_routes import PastRoutes
from router.http.server import HttpServer
from router.http.sites import Sites
from router.running import keep_hangups
from router.scheduler.limits import left_free

_log = logging.getLogger("router")

_LEAVE_LATER = 1.0  # seconds to send the last bytes of a drained answer


def serve(environ: Mapping[str, str], *, queue: bool) -> int:
    if not queue:  # SIGHUP has no meaning for a queue worker
        keep_hangups()
    try:
        configuration = Configuration.read(environ, _platform(environ, queue=queue))
        cache_warning = _check_cache(configuration)
        if configuration.collector is not None:
            configuration.collector.check_installed()
        check = InterpreterCheck.begin(configuration.settings.engine_python, environ)
    except SettingsError as error:
        print(told("The settings can't be used", error), file=sys.stderr)  # noqa: T201
        return 2
    settings = configuration.settings
    if queue:
        # RunPod's SDK sets its log level at import, and by default logs all outputs.
        os.environ["RUNPOD_LOG_LEVEL"] = environ.get("RUNPOD_LOG_LEVEL") or "INFO"
        from router.runpod import worker as runpod_worker  # noqa: PLC0415 - 1.5 s, for the queue alone
    redactor = logs.configure(
        settings.log_level, settings.log_format, configuration.secrets_and_keys, sys.stderr
    )
    try:
        found = check.finish()
    except SettingsError as error:
        _log.critical("the settings can't be used: %s", error)
        return 2
    tell_start(_log, configuration, found, redactor)
    if found.is_warning:
        _log.warning("%s", found.text)
    for warning in (
        *flags.warnings(environ),
        *misspelled_variables(configuration),
        *cache_warning,
        *filter(None, [configuration.keys.warning]),
    ):
        _log.warning("%s", warning)
    if settings.hf_hub_offline:
        _log.warning(
            "offline (HF_HUB_OFFLINE): the Hub is never asked, nothing is downloaded, and "
            "callers with tokens of their own are refused"
        )
    else:
        _log.info("%s", configuration.credentials.summary())
    worker = Worker(configuration.with_engines(found), redactor=redactor)
    if queue:
        # Take a few more jobs than one engine has places. If one caller's jobs hold all that
        # they may, another caller's jobs still reach the remaining places.
        own = (one.max_concurrency or 0 for one in configuration.catalog.models)
        places = max([settings.max_concurrency, *own])
        return runpod_worker.take_jobs(worker, places + left_free(places))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(worker, settings, worker_id(environ)))


def _check_cache(configuration: Configuration) -> tuple[str, ...]:
    """Warnings about a cache that can't be written.

    Raises `SettingsError`, unless the default model needs no download: a worker may serve from
    a read-only volume.
    """
    settings, default = configuration.settings, configuration.catalog.default
    problem = cache_problem(settings.hf_hub_cache)
    if problem is None:
        return ()
    reason = problem.strerror or str(problem)
    is_there = default is not None and (
        default.ref is None or is_on_disk(default.ref, settings.hub_caches)
    )
    needed = not (is_there or is_full(problem) or settings.hf_hub_offline)
    if needed:
        raise SettingsError(
            "HF_HUB_CACHE", str(settings.hf_hub_cache), f"a directory to write to: {reason}"
        )
    return (f"nothing can be downloaded to {settings.hf_hub_cache}: {reason}",)


def _platform(environ: Mapping[str, str], *, queue: bool) -> Platform:
    """The platform in front of this worker. A server in a queue worker's container has none."""
    if queue:
        return Platform.QUEUE
    found = detect(environ)
    return Platform.PLAIN if found is Platform.QUEUE else found


async def _serve(worker: Worker, settings: Settings, name: str) -> int:
    """Serve over HTTP until a signal or a fault of the machine. `name`: see `worker_id`."""
    async with worker.open() as service:
        server = HttpServer(
            service,
            keys=worker.keys,
            max_body=settings.max_body_bytes,
            request_timeout=settings.request_timeout,
            read_timeout=settings.read_timeout,
            max_connections=min(MOST_CONNECTIONS, raise_open_files() // 2),
            sites=Sites(settings.allowed_hosts, settings.cors_origins),
            recorder=worker.recorder,
            operator=(
                PastRoutes(worker.past),
                AdminRoutes(worker.admin),
                MetricsRoutes(worker.exposition),
                PageRoutes(
                    read_page(files("router.admin") / "page"),
                    needs_key=settings.admin_api_key is not None,
                ),
            ),
            admin_key=settings.admin_api_key,
            worker=name,
            outbox=worker.outbox,
        )
        try:
            port = await server.start(settings.host, settings.port, settings.port_health)
        except OSError as error:
            _log.critical("%s", cannot_listen(settings, error))
            return 1
        _log.info("listening on http://%s:%d", settings.host, port)
        await worker.until_leaving(service)
        patience = settings.drain_timeout + _LEAVE_LATER
        _, status = await asyncio.gather(server.stop(patience), worker.drain())
        return status
