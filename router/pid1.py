"""What the first process of a container owes the others, where nothing else does it.

Orphans become its children, and stay zombies unless it waits for them; signals without a
handler do not reach it, and an orphaned scheduler of SGLang sends SIGQUIT to its new
parent. So the worker runs as a child, and its parent does nothing but this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def under_init(run: Callable[[], int]) -> int:
    """Run `run` and return its exit status, below a small init where this is process 1.

    Call it before any thread, loop or child exists.
    """
    if os.getpid() != 1:
        return run()
    # Held back until somebody can handle them: without a handler, process 1 loses them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        return run()
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    for number in _FORWARDED:
        signal.signal(number, lambda signum, _frame: os.kill(child, signum))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    return _reap_until(child)


def _reap_until(child: int) -> int:
    """Wait for whoever ends; return the status once it is `child`, as a shell would."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
