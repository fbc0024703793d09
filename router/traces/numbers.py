"""Checks numbers for the OpenTelemetry SDK, which would refuse them with a traceback."""

from __future__ import annotations

from collections.abc import Mapping

from router.config.errors import SettingsError

_MOST = 2**31 - 1  # a much longer wait or queue would fail later
_QUEUE, _BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_DEFAULTS = {_QUEUE: 2048, _BATCH: 512}  # the SDK's
# Each with the least allowed number.
_WHOLE = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": 0,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": 0,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": 0,
    "OTEL_SPAN_LINK_COUNT_LIMIT": 0,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_BSP_SCHEDULE_DELAY": 1,
    "OTEL_BSP_EXPORT_TIMEOUT": 0,
    _QUEUE: 1,
    _BATCH: 1,
}


def check_numbers(environ: Mapping[str, str]) -> None:
    """Raise `SettingsError` for the first variable that the SDK can't use."""
    for name, least in _WHOLE.items():
        text = environ.get(name, "").strip()
        if text and not (text.isdecimal() and least <= float(text) <= _MOST):
            raise SettingsError(name, text, f"a whole number from {least} to {_MOST}")
    queue, batch = (int(environ.get(n, "").strip() or _DEFAULTS[n]) for n in (_QUEUE, _BATCH))
    if batch > queue:
        name = _QUEUE if environ.get(_QUEUE, "").strip() else _BATCH
        allowed = f"such that a batch ({_BATCH}) fits into the queue ({_QUEUE})"
        raise SettingsError(name, environ[name], f"{allowed}: {batch} do not fit into {queue}")
