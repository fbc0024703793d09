"""Runs inside the worker's process. On SIGUSR1, it searches all objects that Python can reach.

MEMORY_SEARCH names a directory. `markers.json` there says what to look for, by role. The search
writes `found.json`, with a path to each find. The markers in the file are reversed. The search
turns them around only after it has collected all objects, so it never finds its own copies.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_LONGEST_WAY = 12  # printed steps of a path, at most


def _answer(_: int, frame: FrameType | None) -> None:
    gc.unfreeze()  # `get_objects` omits the objects that the router froze after its start
    gc.collect()
    reached = [*gc.get_objects(), *_locals(frame)]
    directory = Path(os.environ["MEMORY_SEARCH"])
    markers = json.loads((directory / "markers.json").read_text())
    found = _search(reached, {role: text[::-1] for role, text in markers.items()})
    draft = directory / "found.draft"
    draft.write_text(json.dumps(found))
    draft.replace(directory / "found.json")


def _locals(frame: FrameType | None) -> Iterator[object]:
    """Locals of running frames: the collector does not visit those."""
    here = sys._getframe(1)
    tops = [top for top in sys._current_frames().values() if top is not here]
    for top in (frame, *tops):
        step = top
        while step is not None and step is not here:
            yield from step.f_locals.values()
            step = step.f_back


def _search(left: list[object], markers: dict[str, str]) -> dict[str, str]:
    """A path to each find, by role. Empties `left`."""
    encoded = {role: text.encode() for role, text in markers.items()}
    shortest = min(map(len, markers.values()))
    above: dict[int, object] = dict.fromkeys(map(id, left))
    found: dict[str, str] = {}
    while left:
        value = left.pop()
        content = value.getvalue() if isinstance(value, io.BytesIO) else value
        roles: list[str] = []
        if isinstance(content, str) and len(content) >= shortest:
            roles = [role for role, text in markers.items() if text in content]
        elif isinstance(content, bytes | bytearray) and len(content) >= shortest:
            roles = [role for role, text in encoded.items() if text in content]
        for role in roles:
            found.setdefault(role, _way(value, above))
        for below in gc.get_referents(value):
            if id(below) not in above:
                above[id(below)] = value
                left.append(below)
    return found


def _way(value: object, above: dict[int, object]) -> str:
    steps: list[str] = []
    step: object = value
    while step is not None and len(steps) < _LONGEST_WAY:
        steps.append(getattr(step, "__qualname__", "") or type(step).__qualname__)
        step = above[id(step)]
    return " < ".join(steps)


# Only in the final process image. The router restarts itself once, with this variable; a signal
# in between would end it.
if "MEMORY_SEARCH" in os.environ and "MODEL_ROUTER_ENVIRONMENT" in os.environ:
    signal.signal(signal.SIGUSR1, _answer)
    (Path(os.environ["MEMORY_SEARCH"]) / "listening").touch()
