"""A minimal init process for a container that has none.

Process 1 of a container inherits all orphaned processes, which stay zombies until it waits for
them. It does not get signals that it has no handler for. And an orphaned SGLang scheduler sends
SIGQUIT to its new parent. The worker therefore runs as a child of this minimal process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def under_init(run: Callable[[], int]) -> int:
    """Call `run` and return its exit status. If this is process 1, call it in a child process.

    Call this before any thread, event loop or child process exists.
    """
    if os.getpid() != 1:
        return run()
    # Block the signals until the handlers exist: without a handler, process 1 loses a signal.
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
    """Reap processes until `child` has ended. Return its exit status as a shell would."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
