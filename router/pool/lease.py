"""A place in the queue for an engine, and then the use of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from router.errors import RouterError
from router.models import EngineKey
from router.pool.interfaces import Engine
from router.pool.loading import AT_ONCE, Waited
from router.scheduler import events
from router.secrets import Token


@dataclass(frozen=True, slots=True)
class Granted:
    """An engine that is not stopped to make room while the lease lasts."""

    engine: Engine
    key: EngineKey
    generation: int


class Lease:
    """Made by `EnginePool.lease`, and valid inside that block only."""

    def __init__(
        self,
        number: int,
        age: int,
        credential: Token | None,
    ) -> None:
        self.age = age  # of the place in the queue
        self.credential = credential
        self.waited = AT_ONCE
        self.asked_at: float | None = None  # by the pool's clock; None: granted at once
        self.answered = False  # to be set once the engine's whole answer has arrived
        self._number, self._taken = number, False  # taken: the engine may see the request
        self._outcome: asyncio.Future[Granted | RouterError] = (
            asyncio.get_running_loop().create_future()
        )

    async def granted(self, within: float | None = None) -> bool:
        """Wait for the engine; False if it is not there after `within` seconds.

        Raises the `RouterError` that says why there will be none.
        """
        if not self._outcome.done():
            # Not awaited itself: a cancelled caller must not cancel the outcome.
            await asyncio.wait({self._outcome}, timeout=within)
        if not self._outcome.done():
            return False
        outcome = self._outcome.result()
        if isinstance(outcome, RouterError):
            raise outcome
        self._taken = True
        return True

    @property
    def is_granted(self) -> bool:
        return self._taken

    @property
    def grant(self) -> Granted:
        """What was granted. Only after `granted` has returned True."""
        outcome = self._outcome.result()
        assert isinstance(outcome, Granted)  # noqa: S101
        return outcome

    @property
    def engine(self) -> Engine:
        return self.grant.engine

    @property
    def waiting(self) -> bool:
        return not self._outcome.done()

    def waits_from(self, now: float) -> None:
        """It was not granted at once."""
        self.asked_at = now

    def has_waited(self, waited: Waited) -> None:
        self.waited = waited

    def deliver(self, outcome: Granted | RouterError) -> None:
        self._outcome.set_result(outcome)

    def forgo(self) -> None:
        """Record that the engine has not seen the request: it can't have done any harm."""
        self._taken = False

    def end(self) -> events.Event:
        """The event that ends this lease. A grant that was never taken ends like a place in
        the queue."""
        if self._taken:
            return events.Released(self._number, self.answered)
        return events.Left(self._number)
