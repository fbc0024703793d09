"""What an exception out of `huggingface_hub`, or the disk under it, means to a caller."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EACCES, EDQUOT, ENOSPC, EROFS

from huggingface_hub.errors import HfHubHTTPError

from router.errors import HubUnavailable, InsufficientDisk, InternalError, RouterError
from router.hub.errors import Question, explain


def failure(error: BaseException, question: Question) -> RouterError:
    """What an exception out of the library, or one that it came from, means."""
    causes = list(_causes(error))
    if any(_disk_full(cause) for cause in causes):
        return InsufficientDisk(
            f"The disk filled up while {question.repo_id} was downloaded. Use a worker "
            "with a larger disk, or a smaller model."
        )
    if any(isinstance(cause, OSError) and cause.errno in (EACCES, EROFS) for cause in causes):
        return InternalError("The model cache can't be written.")
    for cause in causes:
        if isinstance(cause, HfHubHTTPError):
            return explain(cause, question)
    return broken_off()


def broken_off() -> HubUnavailable:
    return HubUnavailable("The download from the Hugging Face Hub broke off: try again.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _disk_full(error: BaseException) -> bool:
    # hf-xet, written in Rust, tells its I/O errors in the text of a RuntimeError.
    is_full = isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT)
    return is_full or "No space left on device" in str(error)
