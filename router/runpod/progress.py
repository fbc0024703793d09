"""Posts a job's progress, one post at a time, and none after its answer has begun."""

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
    """A context manager. Its exit cancels a post that still hangs.

    An answer waits at most `patience` seconds for the last post.
    """

    def __init__(self, post: Post, patience: float) -> None:
        self._post, self._patience = post, patience
        self._posting: asyncio.Task[None] | None = None

    def report(self, progress: Progress) -> None:
        """Post progress, unless the last post is still in progress: this one would be late."""
        if self._posting is None or self._posting.done():
            self._posting = asyncio.get_running_loop().create_task(self._send(progress))

    async def settled(self) -> None:
        """Finish the last post, which must not arrive after the job's result.

        A post that hangs is canceled: the SDK's session would wait half an hour for it.
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
        except Exception as error:  # noqa: BLE001 - the job itself has not failed
            _log.warning("progress could not be posted: %s", type(error).__name__)


def as_output(progress: Progress) -> dict[str, object]:
    """Progress for the job's status. Sizes are in bytes, the time in seconds."""
    output: dict[str, object] = {"stage": progress.stage}
    if progress.why not in ("", progress.stage):
        output["why"] = progress.why
    if progress.total:
        output |= {"bytes_done": progress.done, "bytes_total": progress.total}
    if progress.seconds is not None:
        output["eta_seconds"] = ceil(progress.seconds)
    return output
