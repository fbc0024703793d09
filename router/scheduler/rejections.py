"""The errors for requests that get no engine. Each text tells the caller what to do."""

from __future__ import annotations

from router.errors import (
    CallerQuarantined,
    DeadlineExceeded,
    EngineFailed,
    EngineUnavailable,
    ModelLoading,
    ModelTooLarge,
    NoRoom,
    QueueFull,
    RateLimited,
    RouterError,
    UnsupportedModel,
)
from router.models import ModelGroup
from router.scheduler.forecast import Forecast
from router.scheduler.state import TURN_KEPT, Slot

LATER = 10.0  # seconds; Retry-After while a model is being loaded
BACK_OFF = 2.0  # seconds; Retry-After when the queue is full


def shutting_down() -> RouterError:
    return EngineUnavailable(
        "This worker is shutting down. Send the request again: another will take it."
    )


def queue_full(retry_after: float) -> RouterError:
    return QueueFull(
        "Too many requests are waiting on this worker. Retry with a back-off, or add "
        "workers (MAX_QUEUE sets the limit).",
        retry_after=retry_after,
    )


def place_given_up() -> RouterError:
    return QueueFull(
        "All places in this worker's queue are taken, and another caller needs one of the many "
        "that you have. Wait for your other answers, or retry with a back-off.",
        retry_after=BACK_OFF,
    )


def over_places() -> RouterError:
    return RateLimited(
        "You have as many requests waiting on this worker as one caller may have "
        "(MAX_QUEUE_PER_CALLER). Wait for their answers.",
        retry_after=BACK_OFF,
    )


def over_starts(retry_after: float) -> RouterError:
    return RateLimited(
        "You have had as many models started in a minute as one caller may have "
        "(MAX_STARTS_PER_CALLER). Use one that is loaded, or retry later.",
        retry_after=retry_after,
    )


def over_models() -> RouterError:
    return RateLimited(
        "You are using as many models at once as one caller may (MAX_MODELS_PER_CALLER). "
        "Wait until the requests for one of them have ended.",
        retry_after=LATER,
    )


def over_download(retry_after: float) -> RouterError:
    return RateLimited(
        "You have had as many bytes downloaded in an hour as one caller may have "
        "(MAX_DOWNLOAD_PER_CALLER). Use a model that is loaded, or retry later.",
        retry_after=retry_after,
    )


def cooling_down(slot: Slot, now: float) -> RouterError:
    if slot.unsupported:
        return _unsupported(slot)
    why = f" It did not start: {slot.told}." if slot.told else ""
    return EngineUnavailable(
        f"The engine for {slot.key} failed {slot.failures} times in a row and is left to "
        f"cool down.{why} Retry later; if it keeps failing, the operator's log says why.",
        retry_after=slot.retry_at - now,
    )


def quarantined(slot: Slot, crashes: int, seconds: float) -> RouterError:
    return CallerQuarantined(
        f"The engine for {slot.key} crashed {crashes} times while it had requests of yours, "
        "and others use it too. Find out which of your requests crash it (a value out of "
        "range, a size that does not fit), and do not send them again. You can use this "
        "model again after Retry-After, and other models now.",
        retry_after=seconds,
    )


def not_tried_again(slot: Slot) -> RouterError:
    return EngineFailed(
        f"The engine for {slot.key} died under this request. The request may be the cause, "
        "so it was not tried again on an engine that others use. Send it again only if you "
        "have no doubt about it: after another such crash this model is closed to you for a "
        "time."
    )


def did_not_start(slot: Slot) -> RouterError:
    if slot.unsupported:
        return _unsupported(slot)
    why = f": {slot.told}." if slot.told else "."
    return EngineFailed(
        f"The engine for {slot.key} did not start{why} Check that SGLang supports this model "
        "and its size; the operator's log says more."
    )


def _unsupported(slot: Slot) -> RouterError:
    return UnsupportedModel(
        f"SGLang can't serve {slot.key}: {slot.told}. Use another model, or ask the operator."
    )


def start_too_long(slot: Slot) -> RouterError:
    return EngineFailed(
        f"The engine for {slot.key} took longer to start than it may while another caller "
        "waits (CONTESTED_START_TIMEOUT). Retry later, or ask the operator to list the model."
    )


def too_late(forecast: Forecast, linger: float) -> RouterError:
    """`linger`: seconds for which loading continues without a waiting request. A caller that
    came back later than that would find nothing loaded."""
    expected = LATER if forecast.seconds is None else forecast.seconds
    if forecast.loads:
        return ModelLoading(
            f"The model is still being loaded ({forecast.reason}). Send the request again.",
            retry_after=max(1.0, min(expected, linger / 2)),
        )
    error = DeadlineExceeded(
        f"The request waited for an engine longer than QUEUE_TIMEOUT ({forecast}). "
        "Retry, or have the operator add workers."
    )
    error.retry_after = min(expected, TURN_KEPT / 2)
    return error


def too_large(claim: int, span: int, whole: int, devices: int) -> RouterError:
    """`claim` and `whole`: bytes of each device."""
    needs, has = f"{claim} bytes of accelerator memory", f"{whole}"
    if span > 1:
        needs += f" on each of {span} devices"
    if devices > 1:
        has += f" on each of {devices}"
    return ModelTooLarge(
        f"This model needs {needs} and this worker has {has} for engines. Use a smaller or a "
        "quantised model."
    )


def no_room() -> RouterError:
    return NoRoom(
        "Pinned models hold the memory that this model needs. Ask the operator, or use one "
        "of the models in /v1/models."
    )


def barred_by_group(group: ModelGroup) -> RouterError:
    why = "is never loaded beside other models" if group.exclusive else "is full"
    return NoRoom(
        f"A pinned model keeps this one from being loaded: the group `{group.name}` {why}. Ask "
        "the operator, or use one of the models in /v1/models."
    )


def model_queue_full(retry_after: float) -> RouterError:
    return QueueFull(
        "As many requests as the operator allows wait for this model on this worker "
        "(`max_queue`). Retry with a back-off.",
        retry_after=retry_after,
    )


def memory_missing() -> RouterError:
    return NoRoom(
        "This worker has lost accelerator memory and no longer has room for this model. "
        "Tell the operator, or use a smaller model."
    )
