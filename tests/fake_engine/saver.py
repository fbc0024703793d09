"""SGLang's memory saver: the routes that release the GPU's memory and take it back."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from tests.fake_engine.behaviour import Behaviour, Journal
from tests.fake_engine.wire import Reply, Request, die

TAGS = frozenset({"weights", "kv_cache", "cuda_graph"})


@dataclass(frozen=True, slots=True)
class SaverFlags:
    enabled: bool = False  # if not, the routes answer, but release nothing
    backup: bool = False  # if not, the weights are lost


class Saver:
    """Dies for the same reasons as the real one: a release during work, a second resume, or
    work without memory."""

    def __init__(self, flags: SaverFlags, behaviour: Behaviour, journal: Journal) -> None:
        self._flags, self._behaviour, self._journal = flags, behaviour, journal
        self._released: set[str] = set()
        self._working = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.garbled = False  # the weights are lost
        self.routes = {
            "/flush_cache": self._flush,
            "/release_memory_occupation": self._release,
            "/resume_memory_occupation": self._resume,
        }
        self._hold(behaviour.memory)

    @property
    def asleep(self) -> bool:
        return self._flags.enabled and bool(self._released)

    def begin(self) -> None:
        """A request is about to be computed."""
        if self.asleep:
            die()
        self._working += 1
        self._idle.clear()

    def end(self) -> None:
        self._working -= 1
        if not self._working:
            self._idle.set()

    async def _flush(self, request: Request, reply: Reply) -> None:
        patience = float(parse_qs(request.query).get("timeout", ["0"])[0])
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            reply.whole(400)
        else:
            self._journal.write("flush")
            reply.whole(200)

    async def _release(self, request: Request, reply: Reply) -> None:
        tags = _tags(request)
        self._journal.write("release", tags=sorted(tags))
        if self._working:
            die()
        if self._behaviour.release_error is not None:
            reply.whole(self._behaviour.release_error, {"error": {"message": "CUDA error"}})
            return
        await asyncio.sleep(self._behaviour.release_takes)
        self._released |= tags
        if self.asleep:
            self.garbled |= "weights" in tags and not self._flags.backup
            self._free_after(self._behaviour.frees_after)
        reply.whole(200)

    async def _resume(self, request: Request, reply: Reply) -> None:
        tags = _tags(request)
        self._journal.write("resume", tags=sorted(tags))
        if self._behaviour.die_at_resume or not tags <= self._released:
            die()
        await asyncio.sleep(self._behaviour.resume_takes)
        self._released -= tags
        if not self.asleep:
            self._hold(self._behaviour.memory)
        reply.whole(200)

    def _free_after(self, seconds: float) -> None:
        kept = self._behaviour.kept_asleep
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._hold, kept)
        else:
            self._hold(kept)

    def _hold(self, size: int) -> None:
        """Write to the pretended device how much this engine holds."""
        if self._behaviour.device is not None:
            note = Path(self._behaviour.device) / str(os.getpid())
            note.with_suffix(".part").write_text(str(size))
            note.with_suffix(".part").rename(note)  # others read it at any moment


def _tags(request: Request) -> set[str]:
    return set(json.loads(request.body).get("tags") or TAGS)


def taken(device: Path) -> int:
    """The bytes that running engines hold on the pretended device."""
    return sum(int(file.read_text()) for file in device.iterdir() if _runs(file.name))


def _runs(name: str) -> bool:
    """Whether this is the number of an engine's process. A zombie has no command."""
    try:
        return b"tests.fake_engine" in Path("/proc", name, "cmdline").read_bytes()
    except OSError:
        return False
