"""What an answer of the Hub other than yes means for the caller.

From the exceptions of `huggingface_hub` 2.x, which hold the token in their request, to
our own errors, which do not: raise these outside of the `except` clause, unchained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

from router.errors import (
    HfTokenScope,
    HubLimited,
    HubUnavailable,
    InvalidHfToken,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RevisionNotFound,
    RouterError,
    UnsupportedModel,
)

DEFAULT_RETRY_AFTER = 5.0  # seconds, where the Hub names none


@dataclass(frozen=True, slots=True)
class Question:
    """What the Hub was asked, as far as its refusal has to be explained."""

    endpoint: str
    repo_id: str  # as the caller wrote it, or canonical where that is known
    revision: str | None
    with_token: bool
    visible: bool = False  # known to be public or gated: that it exists is no secret

    @property
    def not_found(self) -> ModelNotFound:
        """The one answer for what is missing, is another's, or is out of a token's scope."""
        advice = (
            "this token may not read it: a fine-grained token needs the permission for it"
            if self.with_token
            else "it is private: send a Hugging Face token that may read it"
        )
        return ModelNotFound(f"The model {self.repo_id} does not exist, or {advice}.")


def explain(error: HfHubHTTPError, question: Question) -> RouterError:
    """Our error for the Hub's answer; fact sheet: the table in facts/huggingface.md."""
    name, status = question.repo_id, error.response.status_code
    match error:
        case GatedRepoError():
            return ModelGated(
                f"The model {name} is gated: ask for access on "
                f"{question.endpoint}/{name}, then send a token of that account."
            )
        case DisabledRepoError():
            return ModelDisabled(f"The model {name} was disabled on the Hugging Face Hub.")
        case RevisionNotFoundError():
            return RevisionNotFound(
                f"The model {name} has no revision {question.revision or 'main'}."
            )
        case RemoteEntryNotFoundError():
            return UnsupportedModel(
                f"The model {name} lacks a file that every model has, such as config.json."
            )
    if status in (408, 429) or status >= 500:
        return unavailable(status, error.response.headers)
    return _refusal(status, error.response.headers.get("X-Error-Code"), question)


def _refusal(status: int, code: str | None, question: Question) -> RouterError:
    if status == 401 and question.with_token and code is None:
        # The Hub says so for public repositories too; what is missing it calls 404 here.
        return InvalidHfToken(
            "The Hugging Face Hub refused this token: it is invalid, expired or revoked."
        )
    if status == 403 and question.with_token and question.visible:
        return HfTokenScope(
            f"This fine-grained token may not read {question.repo_id}: give it the permission "
            "for this repository, or for gated repositories, in the token's settings."
        )
    if status in (401, 403, 404):
        return question.not_found
    return HubUnavailable(
        f"The Hugging Face Hub gave an answer that makes no sense ({status}).",
        retry_after=DEFAULT_RETRY_AFTER,
    )


def unavailable(status: int, headers: Mapping[str, str]) -> HubUnavailable:
    """The Hub is overloaded or ill, or this caller asked too often; with its own delay."""
    retry_after = _retry_after(status, headers)
    if status == 429:
        return HubLimited(retry_after)
    return HubUnavailable(
        f"The Hugging Face Hub is having trouble ({status}): try again later.",
        retry_after=retry_after,
    )


def _retry_after(status: int, headers: Mapping[str, str]) -> float:
    # `RateLimit: "api";r=0;t=55` comes with every answer; it is the reason for a 429 only.
    limit = parse_ratelimit_headers(headers) if status == 429 else None
    if limit is not None:
        return max(1.0, float(limit.reset_in_seconds))
    delay = headers.get(
        "Retry-After", ""
    ).strip()  # its other form, a date, the Hub never sends
    return max(1.0, float(delay)) if delay.isdecimal() else DEFAULT_RETRY_AFTER
