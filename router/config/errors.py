"""The errors of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from reprlib import Repr

from router.redaction import redact

_MOST_TOLD = 20  # of the mistakes in one configuration


class SettingsError(Exception):
    """What the operator wrote can't be used.

    `problems` has a line for each mistake. It names the key, shows the value, and says what may
    stand there. What looks like a secret is not shown. As text they are one line.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.allowed = key, allowed
        self.problems: tuple[str, ...] = (f"{redact(key)}={shown(value)}: must be {allowed}",)
        super().__init__(self.problems[0])


class SettingsMistakes(SettingsError):
    """One mistake or several, each in words of its own."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.key = self.allowed = ""
        more = len(problems) - _MOST_TOLD
        rest = (f"and {more} more",) if more > 0 else ()
        self.problems = (*map(redact, problems[:_MOST_TOLD]), *rest)
        Exception.__init__(self, "; ".join(self.problems))


class MistakesSoFar:
    """Collects mistakes, to tell all of them at once."""

    def __init__(self) -> None:
        self._errors: list[SettingsError] = []

    def note(self, problem: str) -> None:
        self._errors.append(SettingsMistakes([problem]))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Note what is wrong inside, and go on after it."""
        try:
            yield
        except SettingsError as error:
            self._errors.append(error)

    def raise_any(self) -> None:
        """Raises `SettingsError` if there are any."""
        if self._errors:
            raise self.error()

    def error(self) -> SettingsError:
        """All of them, of which there is at least one."""
        if len(self._errors) == 1:
            return self._errors[0]
        return SettingsMistakes([text for one in self._errors for text in one.problems])


def shown(value: object) -> str:
    """A value as an error may show it: short, and without secrets."""
    brief = Repr()
    brief.maxstring = brief.maxother = 100
    return brief.repr(redact(value) if isinstance(value, str) else value)


def told(what: str, error: SettingsError) -> str:
    """What the mistakes are the reason of, and a line for each, for a terminal."""
    if len(error.problems) == 1:
        return f"{what}: {error}"
    return "\n  ".join((f"{what}:", *error.problems))
