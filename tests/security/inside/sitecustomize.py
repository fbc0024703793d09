"""In the worker's own process: on SIGUSR1, a search of all that Python can reach there.

MEMORY_SEARCH names a directory: `markers.json` says what to look for, by role, and
`found.json` is written, with a way to each find. Markers stand there reversed, and are
turned round only once everything to be searched is collected: the search holds none itself.
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

_LONGEST_WAY = 12  # steps of a way that are told


def _answer(_: int, frame: FrameType | None) -> None:
    gc.unfreeze()  # `get_objects` leaves out what the router froze when it was up
    gc.collect()
    reached = [*gc.get_objects(), *_locals(frame)]
    directory = Path(os.environ["MEMORY_SEARCH"])
    markers = json.loads((directory / "markers.json").read_text())
    found = _search(reached, {role: text[::-1] for role, text in markers.items()})
    draft = directory / "found.draft"
    draft.write_text(json.dumps(found))
    draft.replace(directory / "found.json")


def _locals(frame: FrameType | None) -> Iterator[object]:
    """Of frames that run: no collector visits those."""
    here = sys._getframe(1)
    tops = [top for top in sys._current_frames().values() if top is not here]
    for top in (frame, *tops):
        step = top
        while step is not None and step is not here:
            yield from step.f_locals.values()
            step = step.f_back


def _search(left: list[object], markers: dict[str, str]) -> dict[str, str]:
    """By role, how to get to it. Takes `left` apart."""
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


# Only of the image that stays: the router starts itself anew once, with this variable, and a
# signal that comes in between would end it.
if "MEMORY_SEARCH" in os.environ and "MODEL_ROUTER_ENVIRONMENT" in os.environ:
    signal.signal(signal.SIGUSR1, _answer)
    (Path(os.environ["MEMORY_SEARCH"]) / "listening").touch()
