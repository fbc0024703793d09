"""Log messages about a crash: its reason, and the callers that may have caused it."""

from __future__ import annotations

from collections.abc import Iterator

from router.scheduler.events import DIGEST_SHOWN
from router.scheduler.state import Slot
from router.scheduler.suspicion import Verdict

_CALLERS_SHOWN = 5


def of_crash(slot: Slot, reason: str, verdict: Verdict, now: float) -> str:
    """Format a crash as one line."""
    return "; ".join((f"{slot.key} crashed: {reason}", *_callers(slot, verdict, now)))


def _callers(slot: Slot, verdict: Verdict, now: float) -> Iterator[str]:
    """The callers that may have caused it, and the consequences; nothing without suspects."""
    if verdict.author is not None:
        crashes = slot.suspicion.crashes(verdict.author)
        used = _used_by(slot, f"only {_shown(verdict.author)}")
        yield f"{used} (crash {crashes} of that caller)"
        present = slot.queue.values()
        if seconds := slot.suspicion.barred_for(verdict.author, present, now):
            yield f"it is quarantined from the model for {seconds:.0f} s, as others use that"
    elif verdict.suspects:
        several = ", ".join(_shown(one) for one in verdict.suspects[:_CALLERS_SHOWN])
        used = _used_by(slot, f"{len(verdict.suspects)} callers ({several})")
        seconds = slot.suspicion.until - now
        yield used
        yield (
            f"for {seconds:.0f} s one uses it at a time, so that the next crash can be traced "
            "to one caller"
        )


def _used_by(slot: Slot, callers: str) -> str:
    """A crash is noticed late, so requests that ended before it may have caused it, too."""
    if slot.leases:
        return f"{callers} used it"
    return f"no request was in flight, {callers} had just used it"


def _shown(caller: str) -> str:
    return f"caller {caller[:DIGEST_SHOWN]}" if caller else "the anonymous caller"
