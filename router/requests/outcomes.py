"""How a request can end."""

from __future__ import annotations

from functools import cache

from router.errors import RouterError


class Outcome:
    """How a request ended. Any other outcome is the code of the error that its caller got."""

    OK = "ok"
    CALLER_LEFT = "caller_left"
    NOT_READ = "not_read"  # the caller did not read its answer
    ENGINE_DIED = "engine_died"  # before or in the middle of the answer
    ERROR_EVENT = "error_event"  # of the engine's own, in a stream that went on to its end
    BROKE_OFF = "broke_off"  # in the middle of the answer; `error` says why
    SHUT_DOWN = "shut_down"  # the worker had to leave
    ENGINE = "engine_error"  # the engine's own error


def known_code(code: str) -> str:
    """The code of an error as a record tells it: an engine's own can be any text."""
    return code if code in _codes() else Outcome.ENGINE


@cache
def _codes() -> frozenset[str]:
    """Of all errors of the router."""
    kinds, codes = [RouterError], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        codes.add(getattr(kind, "code", ""))
    return frozenset(codes - {""})
