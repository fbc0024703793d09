"""The events that the download process sends to the router, and its end.

The child writes lines of JSON to its original standard output. `event` is one of:

started     the process is up
waiting     another worker holds the lock; `done` and `total` are its progress, in bytes
partial     the file `name` is about to be written; announced first, so that the router can
            remove it however the child ends
plan        `done` of `total` bytes are on disk, and `next` bytes must be downloaded now; the
            child waits for `start`. Sent for the small files, files that they name, and weights
file        only in an inspection: `name`, `size` and `blob` of a file that an engine needs;
            `on_disk`: whether a source cache has it
described   the small files are on disk and have passed the checks; the weights come next.
            `plan` has the fields of a `MemoryPlan`, or is null
progress    `done` bytes are on disk
done        the snapshot is complete
lock_lost   another worker declared this one dead and took the lock
failed      `code`, `message` and `retry_after` of a `RouterError`; `cause`, for the log, names
            the path on the disk that is at fault

The last three end the process. No event holds a token.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from router.downloads.errors import to_fields
from router.downloads.snapshots import PARTIAL_SUFFIX
from router.downloads.volume_lock import VolumeLock
from router.errors import RouterError


class ChildEvents:
    """The child's side of the event pipe. Safe to use from any thread."""

    def __init__(self, out: int) -> None:
        """`out` is the file descriptor of the pipe."""
        self._out = out
        self._partials: set[str] = set()
        self._lock: VolumeLock | None = None
        # Reentrant: a signal handler may run in the thread that holds it.
        self._ending = threading.RLock()

    @property
    def partials(self) -> list[Path]:
        """The partial files that this process has opened."""
        return [Path(name) for name in tuple(self._partials)]

    def hold(self, lock: VolumeLock) -> None:
        """Release `lock` when the process ends without a last event."""
        self._lock = lock

    def heartbeat(self) -> None:
        """Renew the lock unless the process is ending. Raises `LockLost`, `OSError`."""
        with self._ending:  # `end` may have released the lock
            if self._lock is not None:
                self._lock.heartbeat()

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """A `sys.addaudithook` hook that announces partial files before they are created."""
        if event == "open" and isinstance(args[0], str) and args[0].endswith(PARTIAL_SUFFIX):
            self._partials.add(args[0])
            self.send("partial", name=Path(args[0]).name)

    def send(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        os.write(self._out, line)  # atomic: shorter than PIPE_BUF

    def fail(self, error: RouterError, cause: str = "") -> NoReturn:
        """End with an error. `cause` is for the operator's log."""
        self.end("failed", **to_fields(error), cause=cause)

    def end(self, event: str | None = None, **fields: object) -> NoReturn:
        """Remove partial files, send the last event, and exit.

        Without an event the router is gone or wants no answer, so the lock is released here.
        After an event the router releases it, once it has cleaned up.
        """
        with self._ending:
            for path in self.partials:
                with suppress(OSError):  # the router removes it, and logs a failure
                    path.unlink()
            if event is not None:
                self.send(event, **fields)
            elif self._lock is not None:
                with suppress(OSError):  # others find out that the holder is dead
                    self._lock.release()
            os._exit(0)  # does not wait for threads that may hang in the network
