"""The headers of a request, by their lower-case names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Headers:
    """The headers in the order received. A name can occur several times."""

    __slots__ = ("_first", "_more")

    def __init__(self, *fields: tuple[str, str]) -> None:
        self._first: dict[str, str] = {}
        self._more: dict[str, list[str]] | None = None  # all values of each repeated name
        for name, value in fields:
            self.add(name.lower(), value)

    def add(self, name: str, value: str) -> None:
        """`name` must be in lower case."""
        if name not in self._first:
            self._first[name] = value
            return
        if self._more is None:
            self._more = {}
        self._more.setdefault(name, [self._first[name]]).append(value)

    def get(self, name: str, default: str = "") -> str:
        """Return the first value."""
        return self._first.get(name, default)

    def getall(self, name: str) -> Sequence[str]:
        if self._more is not None and name in self._more:
            return self._more[name]
        value = self._first.get(name)
        return () if value is None else (value,)

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._first)
