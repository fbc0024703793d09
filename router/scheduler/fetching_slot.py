"""The download of a model: the choice of the credential, and the effects of a failure."""

from __future__ import annotations

from router.errors import RouterError
from router.scheduler import actions, events
from router.scheduler.actions import Action
from router.scheduler.lifecycle import Cause, State
from router.scheduler.moving_slot import MovingSlot
from router.scheduler.track import FailureKind


class FetchingSlot(MovingSlot):
    """The part of `EngineLife` that downloads the files."""

    __slots__ = ()

    def _begin_fetch(self, now: float) -> Action:
        self._move(Cause.WANTED, now)
        self.refused.clear()
        return self._fetch(self.oldest)

    def _fetch(self, request: events.Wanted) -> Action:
        """Download with the credential of `request`. Each credential is tried once."""
        self.attempt, self.described = next(self._numbers), False
        self.credential_digest = request.credential_digest
        return actions.Fetch(self.spec, self.attempt, request.waiter, request.caller)

    def _describe(self, event: events.Described) -> list[Action]:
        self.snapshot, self.plan, self.described = event.snapshot, event.plan, True
        return []

    def _fetched(self, event: events.Fetched, now: float) -> list[Action]:
        self._move(Cause.VERIFIED, now)
        moved = event.snapshot != self.snapshot
        dismissed = self.dismiss("its files are in another place", now) if moved else []
        self.snapshot, self.size, self.linger_until = event.snapshot, event.size, None
        self.plan = event.plan
        return dismissed

    def _fetch_failed(self, event: events.FetchFailed, now: float) -> list[Action]:
        self.track.failed(FailureKind.DOWNLOAD, str(event.error.message), now)
        failed = self.dismiss("its download failed", now)
        if event.blames_credential:
            self.refused[self.credential_digest] = event.error
            failed += self.fail(event.error, digest=self.credential_digest)
            for request in self.queue.values():
                if request.credential_digest not in self.refused:
                    return [*failed, self._fetch(request)]
        self._move(Cause.FETCH_FAILED, now)
        self.linger_until = None
        return failed + self.fail(event.error)

    def _cancel_fetch(self, cause: Cause, now: float) -> list[Action]:
        self._move(cause, now)
        self.linger_until = None
        dismissed = self.dismiss("its download was ended", now)
        return [*dismissed, actions.CancelFetch(self.key, self.attempt)]

    def abandon(self, now: float) -> list[Action]:
        """End a download or a start that no request waits for."""
        if self.state is State.STARTING:
            return [self._stop(Cause.ABANDONED, now)]
        return self._cancel_fetch(Cause.ABANDONED, now)

    def give_up_fetch(self, error: RouterError, now: float) -> list[Action]:
        """Cancel the download of a model that can't be served."""
        return [*self.fail(error), *self._cancel_fetch(Cause.ABANDONED, now)]

    def forget_snapshot(self, now: float) -> list[Action]:
        """Forget that the model is on disk, unless a request waits for it.

        A spare process does not protect the files: others may need the space, or nobody may use
        the model any more.
        """
        if self.state is not State.FETCHED or self.queue:
            return []
        done = self.dismiss("its files are removed", now)
        self._move(Cause.FORGOTTEN, now)
        return done
