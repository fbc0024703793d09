"""`prefetch`: download a model into an image."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from router import logs
from router.app import make_hub
from router.config import files
from router.config.settings import Settings, SettingsError
from router.downloads.downloader import SnapshotDownloader
from router.downloads.prefetch import prefetch, read_token
from router.errors import RouterError

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


def _online(settings: Settings) -> Settings:
    if settings.hf_hub_offline:
        raise SettingsError("HF_HUB_OFFLINE", "true", "off, to download a model")
    return settings
