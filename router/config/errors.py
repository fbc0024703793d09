"""The one error of a configuration."""

from __future__ import annotations

from reprlib import Repr

from router.logs import redact


class SettingsError(Exception):
    """What the operator wrote can't be used.

    The message, one line, names the key, shows the value, and says what may stand there.
    A value that looks like a secret is not shown.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key}={_shown(value)}: must be {allowed}")
        self.key, self.allowed = key, allowed


def _shown(value: object) -> str:
    brief = Repr()
    brief.maxstring = brief.maxother = 100
    return brief.repr(redact(value) if isinstance(value, str) else value)
