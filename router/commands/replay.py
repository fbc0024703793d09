"""`replay`: shows what the pool did, from POOL_JOURNAL."""

from __future__ import annotations

import sys
from pathlib import Path

from router.scheduler import trace


def replay(journal: Path) -> int:
    try:
        lines = journal.open()
    except OSError as error:
        print(f"The journal can't be read: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        with lines:
            for step in trace.replay(lines):
                print(f"{step.now:.3f} {step.event}")  # noqa: T201
                for action in step.actions:
                    print(f"    -> {action}")  # noqa: T201
    except ValueError as error:
        print(f"{journal} can't be replayed: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
