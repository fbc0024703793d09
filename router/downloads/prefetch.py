"""A model brought to a directory ahead of time, for an image to carry.

The directory becomes a Hub cache with our manifest, which the worker finds as
`BAKED_MODELS`: with the commit that the name means today. Who may use the model is asked
of the Hub at each request all the same. For operators who rather serve the directory to all
callers (`MODEL_NAME=/models/org/name`), it also lies there under its plain name.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from router.hub.interfaces import Hub
from router.models import ModelRef
from router.pool.interfaces import Downloader, FetchProgress
from router.secrets import Token

_log = logging.getLogger(__name__)

_TELL_EVERY = 0.1  # of the whole


async def prefetch(
    name: str,
    into: Path,
    *,
    hub: Hub,
    downloader: Downloader,
    token: Token | None,
) -> Path:
    """Download `name`, written as a request names it; return its snapshot below `into`.

    `downloader` is one for the cache `into`. Raises `RouterError`.
    """
    ref = ModelRef.parse(name)
    model = await hub.resolve(ref, token)
    told = -1.0

    def note(progress: FetchProgress) -> None:
        nonlocal told
        if progress.done >= told + _TELL_EVERY * progress.total:
            told = progress.done
            _log.info("%s: %d of %d bytes", ref, progress.done, progress.total)

    snapshot = await downloader.fetch(model, token, note)
    _name(into / str(ref), snapshot)
    _log.info("%s is in %s", ref, snapshot)
    return snapshot


def _name(plain: Path, snapshot: Path) -> None:
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.unlink(missing_ok=True)
    # Relative, so that the directory can be copied and mounted anywhere.
    plain.symlink_to(os.path.relpath(snapshot, plain.parent))


def read_token(file: Path | None, fallback: Token | None) -> Token | None:
    """The token in `file`, a build's secret; `fallback` where there is no file.

    A build without the secret has no file. Raises `InvalidHfToken`, `OSError`.
    """
    if file is None:
        return fallback
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        return fallback
    return Token(text) if text else fallback
