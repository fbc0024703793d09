"""Checks the files that settings name: a wrong path ends the start, not a request."""

from __future__ import annotations

import os
import ssl

from router.config.errors import SettingsError
from router.config.settings import Settings


def check(settings: Settings) -> None:
    """Raises `SettingsError` for a file that can't be used. Creates none."""
    authorities, journal = settings.ssl_cert_file, settings.pool_journal
    if authorities is not None:
        try:
            ssl.create_default_context(cafile=str(authorities))
        except OSError:
            allowed = "a file of certificates in PEM format"
            raise SettingsError("SSL_CERT_FILE", str(authorities), allowed) from None
    if journal is not None:
        place = journal if journal.exists() else journal.parent
        if journal.is_dir() or not place.exists() or not os.access(place, os.W_OK):
            raise SettingsError("POOL_JOURNAL", str(journal), "a file that can be written")
