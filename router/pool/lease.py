"""A lease: a request's place in the queue for an engine, and then the use of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self

from router.errors import RouterError
from router.models import EngineKey
from router.pool.interfaces import Engine
from router.pool.loading import AT_ONCE, Waited
from router.scheduler import events
from router.secrets import Token


class Granted(NamedTuple):
    """A granted engine, which is not stopped to make room while the lease lasts."""

    engine: Engine
    key: EngineKey
    generation: int


class Lease:
    """Created by `EnginePool.lease`. A `with` block begins and closes it.

    `begin` and `finish` belong to the pool.
    """

    __slots__ = (
        "_arrival",
        "_begin",
        "_closed",
        "_finish",
        "_outcome",
        "_taken",
        "answered",
        "asked_at",
        "credential",
        "waited",
        "wanted",
    )

    def __init__(
        self,
        wanted: events.Wanted,
        credential: Token | None,
        begin: Callable[[Lease], None],
        finish: Callable[[Lease], None],
    ) -> None:
        self.wanted, self.credential = wanted, credential
        self._begin, self._finish = begin, finish
        self.waited = AT_ONCE
        self.asked_at: float | None = None  # by the pool's clock; None: granted at once
        self.answered = False  # set this when the engine's complete answer has arrived
        self._closed = False
        self._taken = False  # the engine may see the request
        self._outcome: Granted | RouterError | None = None
        self._arrival: asyncio.Future[None] | None = (
            None  # of the outcome, for a waiting request
        )

    def begin(self) -> Self:
        self._begin(self)
        return self

    def close(self) -> None:
        """Give up the place in the queue or the engine. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._finish(self)

    __enter__ = begin

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def age(self) -> int:
        """Orders the queue."""
        return self.wanted.age

    def take(self) -> bool:
        """Take the engine; False if it is not there yet.

        Raises a `RouterError` if the request gets no engine.
        """
        outcome = self._outcome
        if outcome is None:
            return False
        if isinstance(outcome, RouterError):
            raise outcome
        self._taken = True
        return True

    async def granted(self, within: float | None = None) -> bool:
        """Like `take`, but wait up to `within` seconds for the engine."""
        if self._outcome is None:
            if self._arrival is None:
                self._arrival = asyncio.get_running_loop().create_future()
            # Don't await the future itself: a canceled caller must not cancel it.
            await asyncio.wait({self._arrival}, timeout=within)
        return self.take()

    @property
    def is_granted(self) -> bool:
        return self._taken

    @property
    def grant(self) -> Granted:
        """The granted engine. Call this only after `take` or `granted` has returned True."""
        assert isinstance(self._outcome, Granted)  # noqa: S101
        return self._outcome

    @property
    def engine(self) -> Engine:
        return self.grant.engine

    @property
    def waiting(self) -> bool:
        return self._outcome is None

    def waits_from(self, now: float) -> None:
        """Note that it was not granted at once."""
        self.asked_at = now

    def has_waited(self, waited: Waited) -> None:
        self.waited = waited

    def deliver(self, outcome: Granted | RouterError) -> None:
        assert self._outcome is None, "it is delivered once"  # noqa: S101
        self._outcome = outcome
        if self._arrival is not None:
            self._arrival.set_result(None)

    def forgo(self) -> None:
        """Note that the engine has not seen the request, so it can't have been harmed."""
        self._taken = False

    def end(self) -> events.Event:
        """The event that ends this lease. A grant that was never taken ends like a queue
        place."""
        if self._taken:
            return events.Released(self.wanted.waiter, self.answered)
        return events.Left(self.wanted.waiter)
