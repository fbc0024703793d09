"""Posts how far a job is, one post at a time, and none once its answer has begun."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Self

from router import tasks
from router.requests.request import Progress

_log = logging.getLogger("router.runpod")

Post = Callable[[dict[str, object]], Awaitable[None]]


class ProgressPosts:
    """Leave the block to end a post that still hangs.

    `patience` is how long an answer waits for the last post, in seconds.
    """

    def __init__(self, post: Post, patience: float) -> None:
        self._post, self._patience = post, patience
        self._posting: asyncio.Task[None] | None = None

    def report(self, progress: Progress) -> None:
        """Post it, unless the last post is still on its way: this one would come late."""
        if self._posting is None or self._posting.done():
            self._posting = asyncio.get_running_loop().create_task(self._send(progress))

    async def settled(self) -> None:
        """End the last post, which must not arrive after the job's result.

        One that hangs is given up: the SDK's session would wait half an hour for it.
        """
        if self._posting is not None:
            await asyncio.wait({self._posting}, timeout=self._patience)
            await tasks.cancel(self._posting)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._posting is not None:
            await tasks.cancel(self._posting)

    async def _send(self, progress: Progress) -> None:
        try:
            await self._post(as_output(progress))
        except Exception as error:  # noqa: BLE001 - the job itself is well
            _log.warning("progress could not be posted: %s", type(error).__name__)


def as_output(progress: Progress) -> dict[str, object]:
    """What the status of a job shows. Sizes in bytes, time in seconds."""
    output: dict[str, object] = {"stage": progress.stage}
    if progress.why not in ("", progress.stage):
        output["why"] = progress.why
    if progress.total:
        output |= {"bytes_done": progress.done, "bytes_total": progress.total}
    if progress.seconds is not None:
        output["eta_seconds"] = ceil(progress.seconds)
    return output
