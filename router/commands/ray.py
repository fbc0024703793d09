"""`ray up`: a fleet on this machine, for a try."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from router import logs
from router.app.configuration import Configuration
from router.config.errors import SettingsError, told
from router.config.platform import Platform

_log = logging.getLogger("router")

_INSTALL = "Ray is not installed here: in a checkout of the router, pip install '.[ray]'"
_STORE = 100 << 20  # bytes of Ray's object store, in which nothing lies


def ray_up(replicas: int, gpus: float, environ: MutableMapping[str, str]) -> int:
    """`gpus`: of each replica."""
    if importlib.util.find_spec("ray") is None:
        print(_INSTALL, file=sys.stderr)  # noqa: T201
        return 2
    try:
        configuration = Configuration.read(environ, Platform.PLAIN)
    except SettingsError as error:
        print(told("The settings can't be used", error), file=sys.stderr)  # noqa: T201
        return 2
    settings = configuration.settings
    known = configuration.secrets_and_keys
    logs.configure(settings.log_level, settings.log_format, known, sys.stderr)
    environ.update(private(environ))
    with closed_place() as place:
        _serve(configuration, replicas, gpus, place)
    return 0


@contextmanager
def closed_place() -> Iterator[Path]:
    """A directory for Ray, which opens its own to everybody, in one for this user alone."""
    closed = Path(tempfile.mkdtemp(prefix="model-router-ray-"))
    try:
        yield closed / "ray"
    finally:
        shutil.rmtree(closed, ignore_errors=True)


def private(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables with which Ray's ports take no work from strangers, such as an engine that
    runs a stranger's model, and with which it tells nobody that it is used."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _serve(configuration: Configuration, replicas: int, gpus: float, place: Path) -> None:
    # Not before: Ray reads its variables at import.
    import ray  # noqa: PLC0415
    from ray import serve  # noqa: PLC0415

    from router.app.fleet.application import FleetOptions, application  # noqa: PLC0415

    if os.geteuid():
        _log.warning(
            "without root, engines run as this user, and could read Ray's environment: give "
            "this fleet no tokens that models from strangers must not see"
        )
    ray.init(
        address="local",
        num_cpus=replicas,
        num_gpus=replicas * gpus if gpus else None,
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
        serve.run(app, name="fleet", route_prefix=None)
        settings = configuration.settings
        _log.info("the fleet listens on http://%s:%d", settings.host, settings.port)
        leave.wait()
        _log.info("leaving: requests in flight get %g s", settings.drain_timeout)
        serve.shutdown()
    finally:
        ray.shutdown()
