"""The errors in a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from reprlib import Repr

from router.redaction import MASK, redact

# A URL's user and password, also without a scheme; or a query.
_IN_URL = re.compile(
    r"(?<=//)[^\s/@]+(?=@)|[^\s/@:,]{1,100}:[^\s/@]{1,100}(?=@)|(?<=\?)[^\s=?]{1,100}=\S+"
)
_MOST_TOLD = 20  # mistakes that one error lists


class SettingsError(Exception):
    """The operator's configuration can't be used.

    `problems` has a line for each mistake: the key, the value, and what is allowed. Values that
    look like secrets are redacted. The error's text has all problems on one line.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.allowed = key, allowed
        self.problems: tuple[str, ...] = (f"{redact(key)}={shown(value)}: must be {allowed}",)
        super().__init__(self.problems[0])


class SettingsMistakes(SettingsError):
    """One or more mistakes, each with its own text."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.key = self.allowed = ""
        more = len(problems) - _MOST_TOLD
        rest = (f"and {more} more",) if more > 0 else ()
        self.problems = (*map(redact, problems[:_MOST_TOLD]), *rest)
        Exception.__init__(self, "; ".join(self.problems))


class MistakesSoFar:
    """Collects mistakes, to report all of them at once."""

    def __init__(self) -> None:
        self._errors: list[SettingsError] = []

    def note(self, problem: str) -> None:
        self._errors.append(SettingsMistakes([problem]))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note a `SettingsError` from the block, and continue after the block."""
        try:
            yield
        except SettingsError as error:
            self._errors.append(error)

    def raise_any(self) -> None:
        """Raise `SettingsError` if there are any mistakes."""
        if self._errors:
            raise self.error()

    def error(self) -> SettingsError:
        """One error for all mistakes. There must be at least one."""
        if len(self._errors) == 1:
            return self._errors[0]
        return SettingsMistakes([text for one in self._errors for text in one.problems])


def shown(value: object) -> str:
    """A value for an error message: short, and without secrets."""
    brief = Repr()
    brief.maxstring = brief.maxother = 100
    return brief.repr(_IN_URL.sub(MASK, redact(value)) if isinstance(value, str) else value)


def told(what: str, error: SettingsError) -> str:
    """A text for a terminal: `what` happened, and a line for each mistake."""
    if len(error.problems) == 1:
        return f"{what}: {error}"
    return "\n  ".join((f"{what}:", *error.problems))
