"""The callers' keys, from API_KEYS_FILE."""

from __future__ import annotations

from collections.abc import Mapping

from router.config.caller_keys import CallerKeys
from router.config.settings import Settings


def keys(settings: Settings, environ: Mapping[str, str]) -> CallerKeys:
    """Read the keys. Raises `SettingsError`."""
    if settings.api_keys_file is None:
        return CallerKeys()
    # Imported here: its libraries take a fifth of the worker's start, and most workers have no
    # such file.
    from router.config import keys_file  # noqa: PLC0415

    others = (*settings.api_keys, *filter(None, [settings.admin_api_key]))
    return keys_file.read(settings.api_keys_file, environ, others)
