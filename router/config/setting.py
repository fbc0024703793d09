"""Declares a setting once, for the parser, the documents and RunPod Hub's form."""

# ruff: noqa: ANN401 - `Setting` checks the arguments of `setting` when a module is imported

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar, overload

from router.config.errors import SettingsError
from router.config.kinds import Kind
from router.config.platform import Platform

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One environment variable, and everything that documents say about it.

    A default is text, as in the environment. Without a default, `unset` describes what
    applies, and `otherwise` computes the value from the settings above.
    `label`, `advanced`, `form_type`, `form_default` and `options` are for RunPod Hub's form;
    `in_readme` puts it into the README's short table as well.
    """

    name: str = ""  # by default, the attribute in capitals
    attribute: str = ""  # the dataclass field that it sets, if any
    kind: Kind[T]
    meaning: str  # a sentence or two
    label: str
    default: str | Mapping[Platform, str] | None = None
    unset: str = ""
    otherwise: Callable[[Mapping[str, Any]], T] | None = None
    aliases: tuple[str, ...] = ()  # older names, read if `name` is unset
    secret: bool = False
    section: str = ""  # the heading that this setting opens in the documents
    in_readme: bool = False
    advanced: bool = True
    form_type: str = ""
    form_default: str | None = None
    options: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def is_flag(self) -> bool:
        return self.kind.form == "boolean"

    @property
    def most_used(self) -> bool:
        """Whether short lists include it."""
        return self.in_readme or not self.advanced

    def text(self, environ: Mapping[str, str], platform: Platform) -> str | None:
        """The text in the environment, else the default, else None."""
        if name := self._given(environ):
            return environ[name].strip()
        return self.default[platform] if isinstance(self.default, Mapping) else self.default

    def read(self, environ: Mapping[str, str], platform: Platform = Platform.PLAIN) -> T | None:
        """The value, or None if it is unset. Raises `SettingsError`."""
        text = self.text(environ, platform)
        if text is None:
            return None
        try:
            return self.kind.parse(text)
        except ValueError as error:
            shown = "***" if self.secret else text
            raise SettingsError(self._given(environ) or self.name, shown, str(error)) from None

    def _given(self, environ: Mapping[str, str]) -> str | None:
        """The first of its names that is set; None if none is. Blank text counts as unset."""
        return next((name for name in self.names if environ.get(name, "").strip()), None)


@overload
def setting(
    kind: Kind[T], meaning: str, *, default: str | Mapping[Platform, str], **more: Any
) -> T: ...


@overload
def setting(
    kind: Kind[T], meaning: str, *, otherwise: Callable[[Mapping[str, Any]], T], **more: Any
) -> T: ...


@overload
def setting(kind: Kind[T], meaning: str, **more: Any) -> T | None: ...


def setting(kind: Kind[Any], meaning: str, **more: Any) -> Any:
    """Declare a dataclass field as a setting. `more` are parameters of `Setting`."""
    return field(metadata={"setting": Setting(kind=kind, meaning=meaning, **more)})


def declared(settings: type) -> dict[str, Setting[Any]]:
    """The settings that a dataclass declares, by name."""
    found = ((f.name, f.metadata["setting"]) for f in fields(settings) if f.metadata)
    complete = (
        replace(one, attribute=attribute, name=one.name or attribute.upper())
        for attribute, one in found
    )
    return {one.name: one for one in complete}
