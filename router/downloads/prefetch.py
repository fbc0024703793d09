"""Downloads a model ahead of time, as part of an image.

The target directory becomes a Hub cache with the router's manifest; the worker finds it as
`BAKED_MODELS`. It has the commit that the name means at build time. The worker still asks the
Hub at each request whether the caller may use the model. An operator can instead serve the
directory to all callers (`MODEL_NAME=/models/org/name`); therefore the snapshot is also linked
under its plain name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from router.hub.interfaces import Hub
from router.models import ModelRef
from router.pool.interfaces import Downloader, FetchProgress
from router.secrets import Token, token_text

_log = logging.getLogger(__name__)

_LOG_EVERY = 0.1  # share of the total


async def prefetch(
    name: str,
    into: Path,
    *,
    hub: Hub,
    downloader: Downloader,
    token: Token | None,
    progress: Callable[[FetchProgress], None],
) -> Path:
    """Download the model `name` (`org/name` or `org/name@revision`) into the cache `into`.

    `downloader` must use `into`, too. Returns the snapshot's directory. Raises `RouterError`.
    """
    ref = ModelRef.parse(name)
    model = await hub.resolve(ref, token)
    snapshot = (await downloader.fetch(model, token, progress)).path
    _link(into / str(ref), snapshot)
    return snapshot


def logged(name: str) -> Callable[[FetchProgress], None]:
    """A progress function that logs a line for each tenth of the download."""
    before = -1.0

    def log(progress: FetchProgress) -> None:
        nonlocal before
        if progress.done >= before + _LOG_EVERY * progress.total:
            before = progress.done
            _log.info("%s: %d of %d bytes", name, progress.done, progress.total)

    return log


def _link(plain: Path, snapshot: Path) -> None:
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.unlink(missing_ok=True)
    # Relative, so that the directory can be copied and mounted anywhere.
    plain.symlink_to(os.path.relpath(snapshot, plain.parent))


def read_token(file: Path | None, fallback: Token | None) -> Token | None:
    """The token in `file`, or `fallback` if there is no file.

    The file is a secret of an image build. A build without the secret has no such file.
    Raises `InvalidHfToken`, `OSError`.
    """
    if file is None:
        return fallback
    try:
        text = token_text(file)
    except FileNotFoundError:
        return fallback
    return Token(text) if text else fallback
