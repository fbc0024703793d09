"""Errors of a download: what they mean to the caller, and how they cross the pipe.

The child process translates the exceptions of `huggingface_hub` and of the disk, and sends
the result to the router as an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EACCES, EDQUOT, ENOSPC, EROFS

from huggingface_hub.errors import HfHubHTTPError

from router.errors import HubUnavailable, InsufficientDisk, InternalError, RouterError
from router.hub.errors import HubRequest, hub_error


def download_error(error: BaseException, request: HubRequest) -> RouterError:
    """Translate an exception raised by a download, or the first known one that caused it."""
    causes = list(_causes(error))
    if any(_disk_full(cause) for cause in causes):
        return InsufficientDisk(
            f"The disk filled up during the download of {request.repo_id}. Use a worker "
            "with a larger disk, or a smaller model."
        )
    if any(isinstance(cause, OSError) and cause.errno in (EACCES, EROFS) for cause in causes):
        return InternalError("The model cache is not writable.")
    for cause in causes:
        if isinstance(cause, HfHubHTTPError):
            return hub_error(cause, request)
    return interrupted()


def interrupted() -> HubUnavailable:
    return HubUnavailable("The download from the Hugging Face Hub broke off: try again.")


def to_fields(error: RouterError) -> dict[str, object]:
    """The fields of a `failed` event."""
    return {"code": error.code, "message": error.message, "retry_after": error.retry_after}


def from_fields(code: str, message: str, retry_after: float | None) -> RouterError:
    """The error that the child raised, from the fields of its `failed` event."""
    error = next(kind for kind in _kinds(RouterError) if kind.code == code)(message)
    error.retry_after = retry_after
    return error


def _kinds(base: type[RouterError]) -> Iterator[type[RouterError]]:
    """All classes below `base` that define a code; `HubLimited`, say, inherits its code."""
    for kind in base.__subclasses__():
        yield from _kinds(kind)
        if "code" in vars(kind):
            yield kind


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _disk_full(error: BaseException) -> bool:
    # hf-xet, written in Rust, reports I/O errors in the text of a RuntimeError.
    is_full = isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT)
    return is_full or "No space left on device" in str(error)
