"""Errors of a download: their meaning to the caller, and their form on the pipe.

The child process translates the exceptions of `huggingface_hub` and of the disk, and sends
the result to the router as an event.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from errno import (
    EACCES,
    EDQUOT,
    EEXIST,
    EFBIG,
    EIO,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOSPC,
    ENOTDIR,
    EPERM,
    EROFS,
    ESTALE,
)

from huggingface_hub.errors import HfHubHTTPError

from router.errors import (
    HubUnavailable,
    InsufficientDisk,
    ModelNotAllowed,
    RouterError,
    StorageFailed,
)
from router.hub.errors import HubRequest, hub_error

_FULL = frozenset({ENOSPC, EDQUOT})
# Errors that the network never causes.
_OF_THE_DISK = (
    _FULL
    | {EACCES, EEXIST, EFBIG, EIO, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR}
    | {
        *(EPERM, EROFS, ESTALE),
    }
)
_OS_ERROR = re.compile(r"\(os error ([0-9]{1,5})\)")


def download_error(error: BaseException, request: HubRequest) -> RouterError:
    """Translate an exception raised by a download, or the first known one that caused it."""
    storage = storage_error(error, request.repo_id)
    if storage is not None:
        return storage
    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            return hub_error(cause, request)
    return interrupted()


def storage_error(error: BaseException, name: str) -> RouterError | None:
    """The caller's error for an error of the disk; None for any other. `name`: the model."""
    number = next(filter(None, map(_number, _causes(error))), 0)
    if number in _FULL:
        return InsufficientDisk(
            f"The disk filled up during the download of {name}. Use a worker "
            "with a larger disk, or a smaller model."
        )
    if number:
        return StorageFailed(
            f"The worker's cache of models can't be used ({os.strerror(number)}): its operator "
            "has to act. The log names the place."
        )
    return None


def storage_cause(error: BaseException) -> str:
    """Path and reason, for the operator's log; empty if the disk is not at fault."""
    return next((str(cause)[:1000] for cause in _causes(error) if _number(cause)), "")


def interrupted() -> HubUnavailable:
    return HubUnavailable("The download from the Hugging Face Hub broke off: try again.")


def missing_offline(repo_id: str) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"The files of {repo_id} are not all on the disk of this worker, and it "
        "is offline (HF_HUB_OFFLINE): ask the operator."
    )


def to_fields(error: RouterError) -> dict[str, object]:
    """The fields of a `failed` event."""
    return {"code": error.code, "message": error.message, "retry_after": error.retry_after}


def from_fields(code: str, message: str, retry_after: float | None) -> RouterError:
    """The error that the child raised, from the fields of its `failed` event."""
    error = next(kind for kind in _kinds(RouterError) if kind.code == code)(message)
    error.retry_after = retry_after
    return error


def _kinds(base: type[RouterError]) -> Iterator[type[RouterError]]:
    """All subclasses of `base` that define a code. `HubLimited`, for one, inherits its code."""
    for kind in base.__subclasses__():
        yield from _kinds(kind)
        if "code" in vars(kind):
            yield kind


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int:
    """The errno of an error of the disk; 0 for any other error."""
    if isinstance(error, HfHubHTTPError):  # a subclass of `OSError`
        return 0
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        # hf-xet, written in Rust, reports disk errors only in the text of a RuntimeError.
        found = _OS_ERROR.search(text := str(error)[:10_000])
        full = ENOSPC if "No space left on device" in text else 0
        number = int(found[1]) if found else full
    return number if number in _OF_THE_DISK else 0
