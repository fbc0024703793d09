"""What the operator's log says about a crash: whose requests may have caused it."""

from __future__ import annotations

from collections.abc import Iterator

from router.scheduler.events import DIGEST_SHOWN
from router.scheduler.state import Slot
from router.scheduler.suspicion import Verdict

_CALLERS_SHOWN = 5


def of_crash(slot: Slot, verdict: Verdict, now: float) -> Iterator[str]:
    """Lines for a crash that callers may have caused; none for any other."""
    if verdict.author is not None:
        crashes = slot.suspicion.crashes(verdict.author)
        used = _used_by(slot, f"only {_shown(verdict.author)}")
        yield f"The engine for {slot.key} crashed {used} (crash {crashes} of that caller)."
        present = slot.queue.values()
        if seconds := slot.suspicion.barred_for(verdict.author, present, now):
            yield (
                f"{_shown(verdict.author)} is quarantined from {slot.key} for {seconds:.0f} s, "
                "because others use it."
            )
    elif verdict.suspects:
        several = ", ".join(_shown(one) for one in verdict.suspects[:_CALLERS_SHOWN])
        used = _used_by(slot, f"{len(verdict.suspects)} callers")
        yield (
            f"The engine for {slot.key} crashed {used} "
            f"({several}). For {slot.suspicion.until - now:.0f} s one uses it at a time, "
            "so that the next crash has one author."
        )


def _used_by(slot: Slot, callers: str) -> str:
    """A crash is noticed late: also requests that ended before it may have caused it."""
    if slot.leases:
        return f"while {callers} used it"
    return f"with no request in flight, after {callers} had just used it"


def _shown(caller: str) -> str:
    return f"caller {caller[:DIGEST_SHOWN]}" if caller else "the anonymous caller"
