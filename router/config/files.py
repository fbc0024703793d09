"""Checks the files in settings, so that a wrong path fails at the start, not at a request."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import TextIO

from router.config.errors import SettingsError
from router.config.settings import Settings


def check(settings: Settings) -> None:
    """Raise `SettingsError` for a file that can't be used. Creates no file."""
    authorities, journal = settings.ssl_cert_file, settings.pool_journal
    if authorities is not None:
        try:
            ssl.create_default_context(cafile=str(authorities))
        except OSError:
            allowed = "a file of certificates in PEM format"
            raise SettingsError("SSL_CERT_FILE", str(authorities), allowed) from None
    if journal is not None and not _can_be_written(journal):
        raise SettingsError("POOL_JOURNAL", str(journal), "a file that this user can write to")


def append_privately(path: Path) -> TextIO:
    """Open a file to append to it, and make it readable only for this user.

    Raises `OSError`, even for a link: another user could make one and so choose which file
    the worker changes.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # an existing file may be readable for others
        return os.fdopen(descriptor, "a")
    except BaseException:
        os.close(descriptor)
        raise


def _can_be_written(journal: Path) -> bool:
    try:
        place = journal if journal.exists() else journal.parent
        return place.exists() and os.access(place, os.W_OK) and _may_be_private(journal)
    except OSError:  # a folder is a file or closed to this user, or a name is too long
        return False


def _may_be_private(path: Path) -> bool:
    """Whether the file is missing, or is this user's regular file without hard links."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    ordinary = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    return ordinary and found.st_uid == os.geteuid()
