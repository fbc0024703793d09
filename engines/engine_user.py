"""The user and the directories of an engine.

An engine reads files from strangers, so it must not be able to read everything that the router
can. If the worker is root, engines run as a user of their own. If that user could not read
what an engine needs (for example a cache below a home of mode 0700), the engine stays root,
but without capabilities: it can neither trace the router nor read what root does not own.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import stat
import tempfile
import weakref
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from engines.kernel_cache import Kernels
from engines.remove_tree import remove_tree
from router.config.errors import SettingsError

DEFAULT_USER = "60800"  # outside the ranges that distributions and systemd assign
BARE = "bare"  # for the supervisor: the same user, without capabilities

_NEEDED = (6, 7, 8)  # CAP_SETGID, CAP_SETUID, CAP_SETPCAP
_NO_ID = 2**32 - 1  # means "no change" to Linux
_TRAVERSE, _READ, _WRITE = 1, 4, 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The user and directories of one engine. Only that user can enter `directory`."""

    directory: Path
    home: Path | None  # of the engines' own user; None: the router's
    user: str  # for the supervisor: `UID:GID`, `BARE`, or empty for the router's own
    kernels: Kernels | None = None  # the engine's copy of kernels compiled before

    @property
    def temporary(self) -> Path:
        return self.directory / "tmp"

    @property
    def cache(self) -> Path:
        """The engine's Hub cache, which is empty."""
        return self.directory / "hf"

    def clear(self) -> None:
        """Remove the directories. Call this only when no process of the engine is left."""
        remove_tree(self.directory)
        if self.kernels is not None:
            self.kernels.close()


class Workspaces:
    """Makes a workspace for each engine. The router's exit removes those that are left."""

    def __init__(self, user: User | None, python: str) -> None:
        """`user` runs the engines whose files it can read; None: the router's own user."""
        self._user, self._python = user, python
        self._numbers = count(1)
        self._root: Path | None = None
        self._has_told = False

    def new(self, snapshot: Path) -> Workspace:
        """Make the directories of an engine that loads `snapshot`. Raises `OSError`."""
        root = self._root = self._standing_root()
        directory = root / str(next(self._numbers))
        if self._user is None:
            return _made(Workspace(directory, None, ""), None)
        unreadable = self._unreadable(self._user, root, snapshot)
        if unreadable is None:
            home = root / "home"  # shared, so that engines share compiled kernels
            return _made(Workspace(directory, home, str(self._user)), self._user)
        self._tell(self._user, unreadable)
        return _made(Workspace(directory, None, BARE), None)

    def _standing_root(self) -> Path:
        """The directory that holds all workspaces; a new one if it is gone.

        A cleaner of /tmp may remove it. Then anybody can put a directory or a link there.
        """
        if self._root is not None and _is_own(self._root):
            return self._root
        root = Path(tempfile.mkdtemp(prefix="engines-"))
        root.chmod(0o711)
        weakref.finalize(self, remove_tree, root)
        return root

    def _tell(self, user: User, unreadable: Path) -> None:
        level = logging.DEBUG if self._has_told else logging.WARNING
        self._has_told = True
        _log.log(
            level,
            "the user %s (ENGINE_USER) can't use an engine's files, such as %s: such an engine "
            "runs as root, without capabilities. Let the user read them (chmod o+rX, also on "
            "the folders above), or set ENGINE_USER=root to keep it so",
            *(user, unreadable),
        )

    def _unreadable(self, user: User, root: Path, snapshot: Path) -> Path | None:
        python = shutil.which(self._python)
        interpreter = [Path(python)] if python else []
        if not _may_enter(user, root):
            return root
        for path in (*interpreter, snapshot, *snapshot.rglob("*")):
            if not _may_read(user, path):
                return path
        for device in Path("/dev").glob("nvidia[0-9]*"):
            if not _allows(user, device, _READ | _WRITE):
                return device
        return None


def engine_user(name: str) -> User | None:
    """The user that `ENGINE_USER` names, or None for the router's own.

    Raises `SettingsError` if the name is unknown or the worker can't become that user.
    """
    if os.geteuid() != 0 or not _may_change_user():
        if name not in (DEFAULT_USER, "root"):
            raise SettingsError("ENGINE_USER", name, "empty, where the worker is not root")
        return None
    if name.isdecimal():
        if len(name) > len(str(_NO_ID)) or int(name) >= _NO_ID:
            raise SettingsError("ENGINE_USER", name, f"below {_NO_ID}, if it is a number")
        user = User(int(name), int(name))
    else:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise SettingsError("ENGINE_USER", name, "a user of this machine") from None
        user = User(entry.pw_uid, entry.pw_gid)
    return user if user.uid else None


def _may_change_user() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return all(effective >> number & 1 for number in _NEEDED)
    return False


def _made(workspace: Workspace, user: User | None) -> Workspace:
    directories = [workspace.directory, workspace.temporary, workspace.cache]
    for directory in (*([workspace.home] if workspace.home else []), *directories):
        directory.mkdir(mode=0o700, exist_ok=directory == workspace.home)
        if user is not None:
            os.chown(directory, user.uid, user.gid)
    return workspace


def _is_own(directory: Path) -> bool:
    """Whether it is there, and not a link or another user's."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _may_read(user: User, path: Path) -> bool:
    """Whether the user may read the file or list the directory. Raises `OSError`."""
    real = path.resolve()
    bits = _READ | _TRAVERSE if real.is_dir() else _READ
    return _allows(user, real, bits) and all(
        _may_enter(user, directory) for directory in {path.absolute().parent, real.parent}
    )


def _may_enter(user: User, directory: Path) -> bool:
    return all(_allows(user, one, _TRAVERSE) for one in (directory, *directory.parents))


def _allows(user: User, path: Path, bits: int) -> bool:
    status = path.stat()
    if status.st_uid == user.uid:
        mode = status.st_mode >> 6
    elif status.st_gid == user.gid:
        mode = status.st_mode >> 3
    else:
        mode = status.st_mode
    return mode & bits == bits
