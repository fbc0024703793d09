"""Keeps the measurements of engines on the volume, for later workers with the same GPU.

Several workers may share a file. Each reads it before it writes, and the later of two
measurements wins. If another worker overwrites a measurement at the same moment, it is written
again the next time. Once a minute, a worker reads the measurements of the others. The file
contains no model names, only digests.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.scheduler.history import DURATIONS, KINDS, REMEMBERED, Fact, History

_log = logging.getLogger(__name__)

_LONGEST_FILE = 2 << 20  # bytes; enough for all kinds of facts about `REMEMBERED` models
_HIGHEST = 1e15  # bytes or seconds; more can't be a measurement
_FOREIGN = stat.S_IWGRP | stat.S_IWOTH
_LOOKS = 12  # saves per look at the measurements of other workers

_Dated = dict[tuple[str, str], tuple[float, Fact]]  # by kind and model: time, fact


class Damaged(Exception):
    """The file is not in the format that a worker writes. The message is for the log."""


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """The file of one platform. Its methods block. `now` returns seconds since 1970, the common
    time of all workers."""

    path: Path
    now: Callable[[], float] = time.time

    @classmethod
    def of(cls, volume: Path, platform: str) -> HistoryFile:
        """`platform` names everything that the durations depend on, except for the model."""
        digest = hashlib.sha256(platform.encode()).hexdigest()[:32]
        return cls(volume / "router-history" / f"{digest}.json")

    def version(self) -> object:
        """A value that differs after each change of the file; None if there is no file."""
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self) -> _Dated:
        """The measurements of all workers; empty if the file is missing or unusable."""
        try:
            return self._read()
        except FileNotFoundError:
            return {}
        except (OSError, Damaged) as error:
            _log.warning("saved start times can't be read: %s: %s", self.path, error)
            return {}

    def merge(self, facts: Mapping[tuple[str, str], tuple[float, Fact]]) -> None:
        """Add facts to the file. Raises `OSError`."""
        merged = self.read()
        for name, dated in facts.items():
            if name not in merged or merged[name][0] <= dated[0]:
                merged[name] = dated
        self._write(_as_json(merged))

    def _read(self) -> _Dated:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & _FOREIGN:
                raise Damaged("another user may write to it")
            content = file.read(_LONGEST_FILE + 1)
        if len(content) > _LONGEST_FILE:
            raise Damaged("it is too long")
        try:
            return dict(_facts(json.loads(content), self.now()))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged(f"it is damaged ({type(error).__name__})") from None

    def _write(self, content: str) -> None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{self.path.name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(aside, flags, 0o600), "w") as file:
                file.write(content)
            aside.replace(self.path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


class HistoryKeeper:
    """Writes new facts of a history to its file, in a thread, at most every few seconds.

    `file`: None to keep nothing.
    """

    def __init__(
        self,
        file: HistoryFile | None,
        every: float = 5.0,
        looks: int = _LOOKS,
        last_save: float = 5.0,
    ) -> None:
        """`last_save`: the most seconds of the last save when the worker ends."""
        self.history = History()
        self._file, self._every, self._looks = file, every, looks
        self._last_save = last_save
        self._own: _Dated = {}  # all own measurements: others may overwrite them
        self._known: dict[tuple[str, str], float] = {}  # times in the file that was read last
        self._version: object = None  # of the file that was read last
        self._failing = False

    def load(self) -> list[Fact]:
        """Read the measurements of earlier workers into the history, and return them. Call this
        before the history is used."""
        if self._file is None:
            return []
        self._version, dated = self._file.version(), self._file.read()
        self._known = {name: at for name, (at, _) in dated.items()}
        facts = [fact for _, fact in sorted(dated.values(), key=lambda one: one[0])]
        for fact in facts:
            self.history.learn(fact)
        return facts

    async def run(self, tell: Callable[[Sequence[Fact]], None] = lambda _: None) -> None:
        """Save until canceled, and then once more.

        `tell` gets new measurements of other workers that this one does not have.
        """
        if self._file is None:
            return
        try:
            for number in itertools.count(1):
                await asyncio.sleep(self._every)
                await self._save(self._file)
                if number % self._looks == 0 and (news := await self._look(self._file)):
                    tell(news)
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._save(self._file), self._last_save)

    async def _look(self, file: HistoryFile) -> list[Fact]:
        """Returns only durations: the memory of running engines is not judged again."""
        version = await asyncio.to_thread(file.version)
        if version in (None, self._version):
            return []
        self._version = version
        dated = await asyncio.to_thread(file.read)
        news = {
            name: one
            for name, one in dated.items()
            if name[0] in DURATIONS
            and name not in self._own
            and one[0] > self._known.get(name, -1.0)
        }
        self._known = {name: at for name, (at, _) in dated.items()}
        return [fact for _, fact in sorted(news.values(), key=lambda one: one[0])]

    async def _save(self, file: HistoryFile) -> None:
        if not (news := self.history.take_news()):
            return
        now = file.now()
        self._own |= {(fact.kind, fact.model): (now, fact) for fact in news}
        self._own = _latest(self._own)
        try:
            await asyncio.to_thread(file.merge, dict(self._own))
        except OSError as error:
            if not self._failing:
                _log.warning("start times can't be saved: %s", error)
            self._failing = True
        else:
            self._failing = False


def _facts(content: Any, now: float) -> Iterable[tuple[tuple[str, str], tuple[float, Fact]]]:  # noqa: ANN401  JSON
    """Parse facts. Raises `ValueError`, `TypeError` or `AttributeError` for anything else."""
    for kind, models in content.items():
        if kind not in KINDS:
            raise ValueError(kind)
        for model, (size, value, at) in models.items():
            for number in (size, value, at):
                if not 0 <= number <= _HIGHEST:  # false for NaN
                    raise ValueError(number)
            # The clock of the machine that wrote it may have been wrong.
            yield (kind, model), (min(at, now), Fact(kind, model, int(size), value))


def _as_json(dated: _Dated) -> str:
    kinds: dict[str, dict[str, list[float]]] = {}
    for (kind, model), (at, fact) in _latest(dated).items():
        kinds.setdefault(kind, {})[model] = [fact.size, fact.value, at]
    return json.dumps(kinds)


def _latest(dated: _Dated) -> _Dated:
    """Keep as many models of each kind as a history remembers."""
    kept: _Dated = {}
    for kind in KINDS:
        own = [(name, one) for name, one in dated.items() if name[0] == kind]
        own.sort(key=lambda each: each[1][0])
        kept |= dict(own[-REMEMBERED:])
    return kept
