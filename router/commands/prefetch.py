"""`prefetch`: download a model into an image."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from router import logs
from router.app.hubs import make_hub
from router.commands.progress import fetching, has_bars
from router.config import files
from router.config.settings import Settings, SettingsError
from router.downloads.downloader import SnapshotDownloader
from router.downloads.prefetch import logged, prefetch, read_token
from router.errors import RouterError
from router.pool.interfaces import FetchProgress

_log = logging.getLogger("router")


def prefetch_command(
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

    async def fetch(scratch: str, progress: Callable[[FetchProgress], None]) -> Path:
        downloader = SnapshotDownloader(
            into,
            {**environ, "HF_HOME": scratch},  # keeps leftovers out of the image
            max_model_bytes=settings.max_model_bytes,
            allow_unsafe_weights=settings.allow_unsafe_weights,
        )
        hub = make_hub(settings)
        try:
            return await prefetch(
                name, into, hub=hub, downloader=downloader, token=token, progress=progress
            )
        finally:
            await hub.close()

    try:
        with tempfile.TemporaryDirectory() as scratch, _progress(name, environ) as progress:
            snapshot = asyncio.run(fetch(scratch, progress))
    except (RouterError, OSError) as error:
        _log.error("%s was not fetched: %s", name, error)
        return 1
    _log.info("%s is in %s", name, snapshot)
    return 0


def _progress(
    name: str, environ: Mapping[str, str]
) -> AbstractContextManager[Callable[[FetchProgress], None]]:
    """A bar on a terminal, else log lines."""
    if has_bars(sys.stderr, environ):
        return fetching(name)
    return nullcontext(logged(name))


def _online(settings: Settings) -> Settings:
    if settings.hf_hub_offline:
        raise SettingsError("HF_HUB_OFFLINE", "true", "off, to download a model")
    return settings
