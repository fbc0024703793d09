"""Loads the operator's preloaded models before the first request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from router.config.catalog import Catalog, OperatorModel
from router.errors import AccessError, FitError, RequestError, RouterError

_log = logging.getLogger(__name__)

_TRIES = 3  # failed starts before a model is left alone
_PAUSE = 2.0  # seconds between attempts, unless the error says otherwise

Sleep = Callable[[float], Awaitable[None]]


async def preload(
    catalog: Catalog,
    start: Callable[[OperatorModel], Awaitable[None]],
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Start the models with `preload` one by one, the default model first.

    Returns when each is up or has failed for good. A failure does not end the worker: the
    platform would restart it, and bill for that. Requests for that model get the same error,
    and other models work.
    """
    wanted = [model for model in catalog.models if model.preload]
    for model in sorted(wanted, key=lambda model: model is not catalog.default):
        await _settle(model, start, sleep)


async def _settle(
    model: OperatorModel, start: Callable[[OperatorModel], Awaitable[None]], sleep: Sleep
) -> None:
    failures = 0
    while True:
        try:
            await start(model)
            return
        except RouterError as error:
            failures += error.retry_after is None
            lasting = isinstance(error, AccessError | FitError | RequestError)
            if lasting or failures == _TRIES:
                _log.critical(
                    "%s can't be served: %s (%s)", model.name, error.message, error.code
                )
                return
            _log.warning("%s is not up yet: %s", model.name, error.message)
            await sleep(error.retry_after or _PAUSE)
