"""All ways in which a text can get into a log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

Shape = Callable[[logging.Logger, str], None]


def as_message(log: logging.Logger, text: str) -> None:
    log.warning(text)


def as_one_argument(log: logging.Logger, text: str) -> None:
    log.warning("got %s and %d", text, 5)


def as_a_mapping(log: logging.Logger, text: str) -> None:
    log.warning("got %(what)s", {"what": text, "other": 5})


def in_a_repr(log: logging.Logger, text: str) -> None:
    log.warning("got %r", {"headers": [text]})


def as_bytes(log: logging.Logger, text: str) -> None:
    log.warning("got %s", text.encode(errors="surrogatepass"))


def as_header_pairs(log: logging.Logger, text: str) -> None:
    log.warning("headers=%r", [(b"a", b"b"), (b"x", text.encode(errors="surrogatepass"))])


def as_json(log: logging.Logger, text: str) -> None:
    log.warning(json.dumps({"a": json.dumps({"b": text})}))


def as_an_object(log: logging.Logger, text: str) -> None:
    log.warning(ValueError(text))


def with_arguments_that_do_not_fit(log: logging.Logger, text: str) -> None:
    log.warning("got %d and %d", text)  # noqa: PLE1206 - that is the test


def with_a_broken_format(log: logging.Logger, text: str) -> None:
    log.warning("got 100%", text)


def fail_with(text: str) -> None:
    raise ValueError(text)


def in_an_exception(log: logging.Logger, text: str) -> None:
    try:
        fail_with(text)
    except ValueError:
        log.exception("failed")


def in_the_cause_of_an_exception(log: logging.Logger, text: str) -> None:
    try:
        try:
            fail_with(text)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        log.warning("failed: %s", error, exc_info=error)


def in_a_group_and_a_note(log: logging.Logger, text: str) -> None:
    noted = KeyError("inner")
    noted.add_note(text)
    log.warning("failed", exc_info=ExceptionGroup("several", [noted, OSError(2, text)]))


SHAPES: list[Shape] = [
    as_message,
    as_one_argument,
    as_a_mapping,
    in_a_repr,
    as_bytes,
    as_header_pairs,
    as_json,
    as_an_object,
    with_arguments_that_do_not_fit,
    with_a_broken_format,
    in_an_exception,
    in_the_cause_of_an_exception,
    in_a_group_and_a_note,
]
