"""A command's output: colored tables on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """A text in a table. `style` is a style of rich, used only on a terminal."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]


class OutputLost(Exception):
    """The output can't be written, for example because the disk is full."""


class Output:
    """One command's standard output."""

    def __init__(
        self, stream: TextIO | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        # Without a standard output (`>&-`), nobody reads the output.
        self._stream = stream or sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
        environ = os.environ if environ is None else environ
        self.is_terminal = self._stream.isatty() and environ.get("TERM") != "dumb"

    @property
    def width(self) -> int | None:
        """The current width of the terminal in characters; None without a terminal."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def json(self, document: object) -> None:
        self._write(json.dumps(document, indent=2) + "\n")

    def json_line(self, document: object) -> None:
        """Write a document as one line, and flush it."""
        self._write(json.dumps(document) + "\n")
        self.flush()

    def flush(self) -> None:
        """Raises `BrokenPipeError` if nobody reads any more, and `OutputLost`."""
        with kept():
            self._stream.flush()

    def _write(self, text: str) -> None:
        with kept():
            self._stream.write(text)

    def check_reader(self) -> None:
        """Raises `BrokenPipeError` if nobody reads any more, without writing anything."""
        try:
            descriptor = self._stream.fileno()
        except OSError:  # a stream in memory
            return
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise BrokenPipeError

    @contextmanager
    def screen(self) -> Iterator[Screen]:
        """Take over the whole terminal until the block ends."""
        from rich.console import Console  # noqa: PLC0415 - see `_print`
        from rich.live import Live  # noqa: PLC0415

        console = Console(file=self._stream, highlight=False)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield Screen(live)

    def line(self, text: str = "", style: str = "") -> None:
        if self.is_terminal:
            self._print(_styled(Cell(printable(text), style)))
        else:
            self._write(printable(text) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Write a table. On a terminal, empty columns are left out. Elsewhere nothing is left
        out, because a script may read it."""
        cells = [[_cell(one) for one in row] for row in rows]
        if self.is_terminal:
            used = [at for at in range(len(columns)) if any(row[at].text for row in cells)]
            used = used or list(range(len(columns)))
            cells = [[row[at] for at in used] for row in cells]
            self._print(_rich_table([columns[at] for at in used], cells))
        else:
            texts = [[*columns], *([one.text for one in row] for row in cells)]
            self._write(_aligned(texts))

    def fields(self, rows: Sequence[tuple[str, Cell | str]]) -> None:
        """Write names with their values, one per line."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            cell = _cell(value)
            self.line(f"{name:<{width}}{_GAP}{cell.text}", cell.style)

    def _print(self, shown: Any) -> None:  # noqa: ANN401 - one of rich's
        from rich.console import Console  # noqa: PLC0415 - 50 ms, for a terminal alone

        # `Console` reads NO_COLOR and the terminal's size itself.
        Console(file=self._stream, highlight=False, soft_wrap=True).print(shown)


class Screen:
    """The content of the whole terminal. Each `show` replaces the one before."""

    def __init__(self, live: Any) -> None:  # noqa: ANN401 - rich's
        self._live, self._parts = live, list[Any]()

    def lines(self, texts: Iterable[Cell | str]) -> None:
        self._parts += (_styled(_cell(one)) for one in texts)

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self._parts.append(_rich_table(columns, [[_cell(one) for one in row] for row in rows]))

    def show(self) -> None:
        """Show the parts added since the last call, and clear them."""
        from rich.console import Group  # noqa: PLC0415 - see `Output._print`

        parts, self._parts = self._parts, []
        self._live.update(Group(*parts), refresh=True)


@contextmanager
def kept() -> Iterator[None]:
    """Turn a write error in the block into `OutputLost`; `BrokenPipeError` stays."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(f"the output can't be written: {error.strerror}") from None


def printable(text: str) -> str:
    """The text without control characters: file names from strangers could contain some."""
    return "".join(c if c.isprintable() else "?" for c in text)


def size_text(size: int) -> str:
    """A size for people, such as `1.5 GiB`."""
    for name, unit in _UNITS:
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} B"


def _cell(value: Cell | str) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(printable(cell.text), cell.style)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        _GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)


def _styled(cell: Cell) -> Any:  # noqa: ANN401 - rich's
    from rich.text import Text  # noqa: PLC0415 - see `_print`

    return Text(cell.text, cell.style)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Any:  # noqa: ANN401
    from rich import box  # noqa: PLC0415 - see `_print`
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(_styled, row))
    return table
