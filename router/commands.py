"""What each command of the command line does."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path

import uvloop

from engines import flags
from engines.interpreter import InterpreterCheck
from router import logs
from router.app import Configuration, Worker, make_hub
from router.config import files
from router.config.platform import Platform, detect
from router.config.settings import SETTINGS, Settings, SettingsError
from router.config.typos import misspelled
from router.downloads.cache_check import cache_problem, is_full, is_on_disk
from router.downloads.downloader import SnapshotDownloader
from router.downloads.prefetch import prefetch, read_token
from router.errors import RouterError
from router.http.server import HttpServer
from router.http.sites import Sites
from router.scheduler.state import left_free
from router.scheduler.trace import replay

_log = logging.getLogger("router")

_MOST_CONNECTIONS = 4096  # of callers; as many files are left to the Hub and the engines
_LEAVE_LATER = 1.0  # seconds for the last bytes of a drained answer to be sent


def run(chosen: argparse.Namespace) -> int:
    """Run the chosen command; return its exit status."""
    _leave_no_core()
    _forget_empty(os.environ)
    match chosen.command:
        case "demo":
            return _demo(keep=chosen.keep)
        case "replay":
            return _replay(chosen.journal)
        case "prefetch":
            return _prefetch(chosen.name, chosen.into, chosen.token_file, os.environ)
        case "serve":
            return _run(os.environ, queue=False)
        case "runpod":
            return _run(os.environ, queue=True)
    return _run(os.environ, queue=bool(os.environ.get("RUNPOD_WEBHOOK_GET_JOB")))


def _run(environ: Mapping[str, str], *, queue: bool) -> int:
    try:
        configuration = Configuration.read(environ, _platform(environ, queue=queue))
        cache_warning = _check_cache(configuration)
        check = InterpreterCheck.begin(configuration.settings.engine_python, environ)
    except SettingsError as error:
        print(f"The settings can't be used: {error}", file=sys.stderr)  # noqa: T201
        return 2
    settings = configuration.settings
    if queue:
        # It decides at import what it logs, and by default logs all outputs.
        os.environ["RUNPOD_LOG_LEVEL"] = environ.get("RUNPOD_LOG_LEVEL") or "INFO"
        from router.runpod import worker as runpod_worker  # noqa: PLC0415 - 1.5 s, for the queue alone
    logs.configure(settings.log_level, settings.log_format, configuration.secrets, sys.stderr)
    try:
        found = check.finish()
    except SettingsError as error:
        _log.critical("the settings can't be used: %s", error)
        return 2
    _log.log(logging.WARNING if found.is_warning else logging.INFO, "%s", found.text)
    for warning in (*flags.warnings(environ), *_misspelled(configuration), *cache_warning):
        _log.warning("%s", warning)
    if settings.hf_hub_offline:
        _log.warning(
            "offline (HF_HUB_OFFLINE): the Hub is never asked, nothing is downloaded, and "
            "callers with tokens of their own are refused"
        )
    else:
        _log.info("%s", configuration.credentials.summary())
    worker = Worker(
        replace(
            configuration,
            knows_sglang=not found.is_warning,
            has_saver=found.has_saver,
            has_gate=found.has_gate,
            sglang=found.version,
            engines_lack=found.lacks,
        )
    )
    if queue:
        # A few more than one engine's places: where one caller's jobs hold all that they may,
        # another caller's still reach the places that are left.
        places = settings.max_concurrency
        return runpod_worker.take_jobs(worker, places + left_free(places))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(worker, settings))


def _check_cache(configuration: Configuration) -> tuple[str, ...]:
    """Warnings about a cache that can't be written. Raises `SettingsError`, unless the default
    model needs no download: a worker may serve what a read-only volume holds."""
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


def _misspelled(configuration: Configuration) -> Iterator[str]:
    """A warning for each variable that is probably meant to be a setting. Shows no values."""
    settings = (*SETTINGS.values(), *flags.SETTINGS.values())
    elsewhere = {*flags.GONE, *(model.token_env for model in configuration.catalog.models)}
    given = [name for name, value in configuration.environ.items() if value]
    known = {name for one in settings for name in one.names}
    for name, likely in misspelled(sorted({*given} - elsewhere), known):
        yield f"{name} is not a setting, and is ignored: was {likely} meant?"


def _leave_no_core() -> None:
    """Keep crashes, of children too, from writing memory, which holds tokens, into a file.

    The hard limit stays: to look into a crash, raise the soft one again.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _open_files() -> int:
    """How many files this process may have open, raised as far as it takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * _MOST_CONNECTIONS:
        soft = min(hard, 4 * _MOST_CONNECTIONS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _forget_empty(environ: MutableMapping[str, str]) -> None:
    """Unset what is empty, for the libraries too.

    A deployment from the Hub listing sends every variable, and to OpenSSL an empty
    SSL_CERT_FILE means no authorities at all.
    """
    for name in (name for one in SETTINGS.values() for name in one.names):
        if environ.get(name) == "":
            del environ[name]


def _platform(environ: Mapping[str, str], *, queue: bool) -> Platform:
    """What stands in front. A server in a queue worker's container has nothing there."""
    if queue:
        return Platform.QUEUE
    found = detect(environ)
    return Platform.PLAIN if found is Platform.QUEUE else found


async def _serve(worker: Worker, settings: Settings) -> int:
    """Serve over HTTP until a signal or a broken machine."""
    async with worker.open() as service:
        server = HttpServer(
            service,
            api_keys=[key.reveal() for key in settings.api_keys],
            max_body=settings.max_body_bytes,
            request_timeout=settings.request_timeout,
            read_timeout=settings.read_timeout,
            max_connections=min(_MOST_CONNECTIONS, _open_files() // 2),
            sites=Sites(settings.allowed_hosts, settings.cors_origins),
        )
        try:
            port = await server.start(settings.host, settings.port, settings.port_health)
        except OSError as error:
            _log.critical("can't listen on %s:%d: %s", settings.host, settings.port, error)
            return 1
        _log.info("listening on http://%s:%d", settings.host, port)
        await worker.until_leaving(service)
        patience = settings.drain_timeout + _LEAVE_LATER
        _, status = await asyncio.gather(server.stop(patience), worker.drain())
        return status


def _online(settings: Settings) -> Settings:
    if settings.hf_hub_offline:
        raise SettingsError("HF_HUB_OFFLINE", "true", "off, to download a model")
    return settings


def _prefetch(
    name: str, into: Path, token_file: Path | None, environ: Mapping[str, str]
) -> int:
    try:
        settings = _online(Settings.from_environ(environ))
        files.check(settings)
        token = read_token(token_file, settings.hf_token)
    except (SettingsError, RouterError, OSError) as error:
        print(f"The settings can't be used: {error}", file=sys.stderr)  # noqa: T201
        return 2
    known = (*settings.secrets, *([token] if token else []))
    logs.configure(settings.log_level, settings.log_format, known, sys.stderr)

    async def fetch(scratch: str) -> None:
        downloader = SnapshotDownloader(
            into,
            {**environ, "HF_HOME": scratch},  # what is left there is not for the image
            max_model_bytes=settings.max_model_bytes,
            allow_unsafe_weights=settings.allow_unsafe_weights,
        )
        hub = make_hub(settings)
        try:
            await prefetch(name, into, hub=hub, downloader=downloader, token=token)
        finally:
            await hub.close()

    try:
        with tempfile.TemporaryDirectory() as scratch:
            asyncio.run(fetch(scratch))
    except (RouterError, OSError) as error:
        _log.error("%s was not fetched: %s", name, error)
        return 1
    return 0


def _replay(journal: Path) -> int:
    try:
        lines = journal.open()
    except OSError as error:
        print(f"The journal can't be read: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        with lines:
            for step in replay(lines):
                print(f"{step.now:.3f} {step.event}")  # noqa: T201
                for action in step.actions:
                    print(f"    -> {action}")  # noqa: T201
    except ValueError as error:
        print(f"{journal} can't be replayed: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _demo(*, keep: bool) -> int:
    if not Path(__file__).parents[1].joinpath("examples", "demo").is_dir():
        print("The demo needs a checkout of the repository.", file=sys.stderr)  # noqa: T201
        return 2
    status: int = importlib.import_module("examples.demo").main(keep=keep)
    return status
