"""A process tree that is hard to end. Run as: stubborn_tree.py DIRECTORY TRAIT...

Each process writes its pid to a file of its name once it is ready. Traits:

    child       a child that ignores all signals that can be ignored
    daemon      the same, left behind by a double fork in a session of its own
    forks       short-lived children, forever
    ignores     main ignores SIGINT and SIGTERM
    exit=N      main exits with N when the others are ready; kill=N: by signal N
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main(directory: Path, traits: list[str]) -> None:
    if "ignores" in traits:
        ignore_signals()
    if "child" in traits and os.fork() == 0:
        live(directory / "child")
    if "daemon" in traits:
        leave_a_daemon(directory / "daemon")
    if "forks" in traits and os.fork() == 0:
        fork_forever(directory / "forks")
    while not all(
        (directory / t).exists() for t in traits if t in {"child", "daemon", "forks"}
    ):
        time.sleep(0.002)
    announce(directory / "main")
    for trait in traits:
        name, _, number = trait.partition("=")
        if name == "exit":
            sys.exit(int(number))
        if name == "kill":
            os.kill(os.getpid(), int(number))
    while True:
        signal.pause()


def announce(path: Path) -> None:
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)


def ignore_signals() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def live(path: Path) -> None:
    ignore_signals()
    announce(path)
    while True:
        signal.pause()


def leave_a_daemon(path: Path) -> None:
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            live(path)
        os._exit(0)
    os.waitpid(first, 0)


def fork_forever(path: Path) -> None:
    """Fork forever, each child short-lived but never all of them dead."""
    ignore_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    announce(path)
    while True:
        if os.fork() == 0:
            time.sleep(0.05)
            os._exit(0)
        time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
