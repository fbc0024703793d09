"""Keeps compiled kernels on the volume, so that later starts don't compile them again.

Kernels are code that engines load, so these rules protect an archive:

- An archive belongs to one model (repository, commit, flags), SGLang's version, GPU and driver.
  No other model's engine writes or reads it.
- Only the router writes it. An engine works on a private copy and runs as a user that can't
  write to the volume. If an engine runs as the router's own user, nothing is kept or used.
- Only kernels of the operator's models without code of their own are kept, and only those
  compiled before the engine serves its first request. Once a worker has run any other model,
  it keeps no more kernels: its engines share a user and could change each other's copies.
- An archive that another user owns or may write to is not used.

On the volume, one worker at a time writes an archive, under the volume's lock, and replaces it
atomically. Compilers would write file by file, some of them in place.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import stat
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from engines.kernel_archive import UnusableArchive, hand_over, names_in, pack, unpack
from engines.remove_tree import remove_tree
from router.models import EngineKey, EngineSpec

_log = logging.getLogger(__name__)

_POLLS, _POLL = 60, 2.0  # count, seconds; the lock of a dead worker expires after 30 polls
_BLOCK = 16 << 20  # bytes, between two heartbeats
_FOREIGN = stat.S_IWGRP | stat.S_IWOTH


class VolumeLease(Protocol):
    """The part of `router.downloads.volume_lock.VolumeLock` used here."""

    def heartbeat(self) -> None: ...

    def release(self) -> None: ...


# Returns a function that tries to take the lock of a directory. It returns None while another
# worker holds the lock.
Contend = Callable[[Path], Callable[[], VolumeLease | None]]


def variables(directory: Path) -> Mapping[str, str]:
    """The variables that make SGLang and its compilers keep their kernels in `directory`.

    SGLang 0.5.23 derives most of them from the first (`environ.py`,
    `third_party_cache_defaults`); older versions do not.
    """
    return {
        "SGLANG_CACHE_DIR": str(directory),
        "SGLANG_JIT_CACHE_DIR": str(directory / "jit"),
        "SGLANG_DG_CACHE_DIR": str(directory / "deep_gemm"),
        "TRITON_CACHE_DIR": str(directory / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(directory / "inductor"),
        "CUDA_CACHE_PATH": str(directory / "nv"),
        "TILELANG_CACHE_DIR": str(directory / "tilelang"),
        "FLASHINFER_WORKSPACE_BASE": str(directory),
    }


@dataclass(frozen=True, slots=True)
class Kernels:
    """An engine's private copy of the kernels. `seeded`: the names that it started with."""

    directory: Path
    uid: int
    seeded: frozenset[str]
    archive: Path  # on the volume
    lock: BinaryIO  # locked as long as the copy is in use
    cache: KernelCache

    def keep(self) -> None:
        """Keep the new kernels. Call this when the engine is ready, before its first request.

        Never raises.
        """
        self.cache.keep(self)

    def close(self) -> None:
        """Remove the copy, once the engine is gone. A second call does nothing: by then,
        another engine's copy may be at the same path."""
        if not self.lock.closed:
            remove_tree(self.directory)
            self.lock.close()


class KernelCache:
    """One worker's access to the archives. Its methods block on file access."""

    def __init__(self, volume: Path, platform: str, contend: Contend) -> None:
        """`platform` names everything that kernels depend on besides the model."""
        self._folder = volume / "router-kernels" / _digest(platform)
        self._contend = contend
        self._private = Path(tempfile.gettempdir()) / f"router-kernels-{os.geteuid()}"
        self._only_operators = True  # until the engine of any other model starts
        self.publishing: threading.Thread | None = None

    def open(self, spec: EngineSpec, user: str) -> Kernels | None:
        """A copy for an engine that runs as `user` (`UID:GID`); None if it may have none."""
        if not (spec.listed and not spec.trusted):
            self._only_operators = False
            return None
        uid, _, gid = user.partition(":")
        if not gid or int(uid) == os.geteuid():
            return None  # it could write to the volume itself
        try:
            return self._open(spec.key, int(uid), int(gid))
        except (OSError, tarfile.TarError, UnusableArchive) as error:
            _log.warning("%s starts without kept kernels: %s", spec.model, error)
            return None

    def _open(self, key: EngineKey, uid: int, gid: int) -> Kernels:
        name = _digest(f"{key.repo_id}|{key.commit}|{'|'.join(key.flags)}")
        self._private.mkdir(mode=0o711, exist_ok=True)
        if not _is_ours(self._private):
            raise OSError(f"{self._private} belongs to somebody else")
        lock = (self._private / f"{name}.lock").open("wb")
        directory, archive = self._private / name, self._folder / f"{name}.tar"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The path is the same each time, because build tools record paths.
            remove_tree(directory)  # left by a worker that was killed
            directory.mkdir(mode=0o700)
            seeded: frozenset[str] = frozenset()
            if archive.exists() and all(map(_is_ours, self._written(archive))):
                seeded = unpack(archive, directory)
            hand_over(directory, uid, gid)
        except BaseException:
            lock.close()
            raise
        return Kernels(directory, uid, seeded, archive, lock, self)

    def _written(self, archive: Path) -> tuple[Path, ...]:
        return (self._folder.parent, self._folder, archive)

    def keep(self, kernels: Kernels) -> None:
        """Pack the kernels now if there are new ones; a thread copies them to the volume."""
        if not self._only_operators:
            return
        packed = self._private / f"{secrets.token_hex(8)}.tar"
        try:
            if names_in(kernels.directory) <= kernels.seeded:
                return
            pack(kernels.directory, packed, kernels.uid)
        except (OSError, UnusableArchive) as error:
            packed.unlink(missing_ok=True)
            _log.warning("compiled kernels are not kept: %s", error)
            return
        self.publishing = threading.Thread(
            target=self._publish, args=(packed, kernels.archive), daemon=True
        )
        self.publishing.start()

    def _publish(self, packed: Path, archive: Path) -> None:
        try:
            lease = self._lease(archive)
            if lease is not None:
                try:
                    _replace(archive, packed, lease)
                finally:
                    lease.release()
                _log.info("kept %d MiB of kernels", archive.stat().st_size >> 20)
        except Exception as error:  # noqa: BLE001 - a full volume, or a lost lock
            _log.warning("compiled kernels are not kept: %s", error)
        finally:
            packed.unlink(missing_ok=True)

    def _lease(self, archive: Path) -> VolumeLease | None:
        archive.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        poll, pause = self._contend(archive.with_suffix(".writer")), threading.Event()
        for _ in range(_POLLS):
            if (lease := poll()) is not None:
                return lease
            pause.wait(_POLL)
        return None


def _replace(archive: Path, packed: Path, lease: VolumeLease) -> None:
    """Copy `packed` to the volume, and replace the archive while the lock is still held."""
    for left in archive.parent.glob(f"{archive.stem}.*.part"):
        left.unlink(missing_ok=True)  # by a worker that died
    part = archive.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        with packed.open("rb") as source, part.open("wb") as target:
            os.fchmod(target.fileno(), 0o644)
            while block := source.read(_BLOCK):
                target.write(block)
                lease.heartbeat()
            target.flush()
            os.fsync(target.fileno())
        lease.heartbeat()
        part.replace(archive)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _is_ours(path: Path) -> bool:
    """Whether only this user can have written it."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & _FOREIGN


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
