"""`ray up`: runs a fleet on this machine, to try it out."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from types import ModuleType

import pynvml

from engines.memory import find_gpus
from router import logs
from router.app.configuration import Configuration
from router.config.errors import SettingsError, told
from router.config.platform import Platform
from router.config.settings import Settings
from router.http.listening import cannot_listen

_log = logging.getLogger("router")

_INSTALL = "Ray is not installed here: in a checkout of the router, pip install '.[ray]'"
_STORE = 100 << 20  # bytes of Ray's object store, which the router does not use


def ray_up(replicas: int, gpus: float, environ: MutableMapping[str, str]) -> int:
    """Run a fleet until a signal; return the exit status. `gpus`: for each replica."""
    if importlib.util.find_spec("ray") is None:
        print(_INSTALL, file=sys.stderr)  # noqa: T201
        return 2
    try:
        configuration = Configuration.read(environ, Platform.PLAIN)
    except SettingsError as error:
        print(told("The settings can't be used", error), file=sys.stderr)  # noqa: T201
        return 2
    settings = configuration.settings
    if flaw := too_few_gpus(replicas, gpus, environ) or taken_port(settings):
        print(flaw, file=sys.stderr)  # noqa: T201
        return 2
    known = configuration.secrets_and_keys
    logs.configure(settings.log_level, settings.log_format, known, sys.stderr)
    environ.update(private(environ), **as_they_are(settings, colors=sys.stderr.isatty()))
    with closed_place() as place:
        return _serve(configuration, replicas, gpus, place)


def gpus_for(replicas: int, gpus: float) -> int:
    """The number of GPUs for all replicas. A share of a GPU never spans two GPUs."""
    if gpus >= 1 or not gpus:
        return replicas * int(gpus)
    return ceil(replicas / int(1 / gpus + 1e-9))


def too_few_gpus(
    replicas: int, gpus: float, environ: Mapping[str, str], nvml: ModuleType = pynvml
) -> str:
    """What is wrong with the number of GPUs, or "".

    Ray does not check the number, and a replica without a GPU runs its engines on the CPU.
    """
    need = gpus_for(replicas, gpus)
    if not need:
        return ""
    try:
        found = len(find_gpus(environ, None, nvml))
    except pynvml.NVMLError as error:
        return f"The driver of the GPU is broken: {error}. Restart or replace the machine."
    if found >= need:
        return ""
    return (
        f"{replicas} replicas of {gpus:g} GPUs each take {need}; this machine has {found}. "
        "Use fewer (--replicas), let them share (--gpus 0.5), or do without (--gpus 0)."
    )


def taken_port(settings: Settings) -> str:
    """What is wrong with the port, or "".

    Without this check, Ray restarts the ingress for minutes before it gives up.
    """
    try:
        for family, kind, _, _, address in socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(address)
    except OSError as error:
        return cannot_listen(settings, error)
    return ""


def as_they_are(settings: Settings, *, colors: bool) -> dict[str, str]:
    """Variables that make Ray print each log line unchanged, and JSON without a prefix."""
    return {
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "1" if colors else "0",
        "RAY_DISABLE_WORKER_LOG_PREFIX": str(int(settings.log_format == "json")),
    }


@contextmanager
def closed_place() -> Iterator[Path]:
    """A directory for Ray inside one that only this user can enter.

    Ray itself lets everybody read its directory.
    """
    closed = Path(tempfile.mkdtemp(prefix="model-router-ray-"))
    try:
        yield closed / "ray"
    finally:
        shutil.rmtree(closed, ignore_errors=True)


def private(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that close Ray's ports to strangers and turn off its usage statistics.

    Otherwise an engine that runs a stranger's model could submit work to Ray.
    """
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _serve(configuration: Configuration, replicas: int, gpus: float, place: Path) -> int:
    # Imported here, because Ray reads its variables at import.
    import ray  # noqa: PLC0415
    from ray import serve  # noqa: PLC0415

    from router.app.fleet.application import FleetOptions, application  # noqa: PLC0415

    if os.geteuid():
        _log.warning(
            "without root, engines run as this user and could read Ray's environment: give "
            "this fleet no token that an untrusted model must not see"
        )
    ray.init(
        address="local",
        num_cpus=replicas,
        num_gpus=gpus_for(replicas, gpus) or None,
        object_store_memory=_STORE,
        include_dashboard=False,
        namespace="serve",
        _temp_dir=str(place),
    )
    options = FleetOptions(
        num_gpus=gpus, num_cpus=1, min_replicas=replicas, max_replicas=replicas
    )
    leave = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: leave.set())
    try:
        serve.start(proxy_location="Disabled")
        app = application(options, configuration.settings)
        try:
            serve.run(app, name="fleet", route_prefix=None)
        except RuntimeError as error:  # Ray's; the log above has the replica's or ingress's own
            _log.critical("the fleet did not come up: %s", error)
            return 1
        settings = configuration.settings
        _log.info("the fleet listens on http://%s:%d", settings.host, settings.port)
        leave.wait()
        _log.info("leaving: requests in flight get %g s", settings.drain_timeout)
        serve.shutdown()
        return 0
    finally:
        ray.shutdown()
