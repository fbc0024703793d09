"""Translates the Hub's errors into the router's.

The exceptions of `huggingface_hub` 2.x hold the request, and with it the token. The router's
errors don't. Raise them outside of the `except` clause, so that they are not chained to the
original.
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

DEFAULT_RETRY_AFTER = 5.0  # seconds, if the Hub names none


@dataclass(frozen=True, slots=True)
class HubRequest:
    """The parts of a Hub request that its errors depend on."""

    endpoint: str
    repo_id: str  # as the caller wrote it, or canonical if that is known
    revision: str | None
    with_token: bool
    visible: bool = False  # known to be public or gated, so its existence is no secret

    @property
    def not_found(self) -> ModelNotFound:
        """The same error for a missing model, a private one, and one out of a token's scope."""
        advice = (
            "this token may not read it: a fine-grained token needs the permission for it"
            if self.with_token
            else "it is private: send a Hugging Face token that may read it"
        )
        return ModelNotFound(f"The model {self.repo_id} does not exist, or {advice}.")


def hub_error(error: HfHubHTTPError, request: HubRequest) -> RouterError:
    """The router's error for an error response of the Hub."""
    name, status = request.repo_id, error.response.status_code
    match error:
        case GatedRepoError():
            return _gated(error.server_message or "", request)
        case DisabledRepoError():
            return ModelDisabled(f"The model {name} was disabled on the Hugging Face Hub.")
        case RevisionNotFoundError():
            return RevisionNotFound(
                f"The model {name} has no revision {request.revision or 'main'}."
            )
        case RemoteEntryNotFoundError():
            return UnsupportedModel(
                f"The model {name} lacks a file that every model has, such as config.json."
            )
    if status in (408, 429) or status >= 500:
        return _unavailable(status, error.response.headers)
    return _refusal(status, error.response.headers.get("X-Error-Code"), request)


def _gated(told: str, request: HubRequest) -> ModelGated:
    """`told` is the Hub's own message. Only it contains the state of an access request."""
    name, page = request.repo_id, f"{request.endpoint}/{request.repo_id}"
    if not request.with_token:
        told = ""  # an access request belongs to an account
    if "awaiting a review" in told:
        return ModelGated(
            f"The model {name} is gated, and this token's account is awaiting a review of its "
            f"request for access: try again once the model's authors have accepted it ({page})."
        )
    if "has been rejected" in told:
        return ModelGated(
            f"The model {name} is gated, and its authors have rejected the request for access "
            f"of this token's account: send a token of another account, or ask them ({page})."
        )
    return ModelGated(
        f"The model {name} is gated: ask for access on {page}, then send a token of that "
        "account."
    )


def not_a_hub() -> HubUnavailable:
    """For a response that the Hub would not send."""
    return HubUnavailable(
        "HF_ENDPOINT does not answer like the Hugging Face Hub: ask the operator to check it.",
        retry_after=DEFAULT_RETRY_AFTER,
    )


def _refusal(status: int, code: str | None, request: HubRequest) -> RouterError:
    if status == 401 and request.with_token and code is None:
        # A bad token gets 401 even for a public repository. With a good token, a missing
        # repository gets 404.
        return InvalidHfToken(
            "The Hugging Face Hub refused this token: it is invalid, expired or revoked. Send "
            "another one; for a public model, send none."
        )
    if status == 403 and request.with_token and request.visible:
        return HfTokenScope(
            f"This fine-grained token may not read {request.repo_id}: give it the permission "
            "for this repository, or for gated repositories, in the token's settings."
        )
    if status in (401, 403, 404):
        return request.not_found
    return HubUnavailable(
        f"The Hugging Face Hub sent an unexpected response ({status}).",
        retry_after=DEFAULT_RETRY_AFTER,
        cause=f"it answers {status}",
    )


def _unavailable(status: int, headers: Mapping[str, str]) -> HubUnavailable:
    """For an overloaded or failing Hub, or for a caller over the Hub's rate limit."""
    retry_after = _retry_after(status, headers)
    if status == 429:
        return HubLimited(retry_after)
    return HubUnavailable(
        f"The Hugging Face Hub is having trouble ({status}): try again later.",
        retry_after=retry_after,
        cause=f"it answers {status}",
    )


def _retry_after(status: int, headers: Mapping[str, str]) -> float:
    """Seconds, at least 1."""
    # Every response has `RateLimit: "api";r=0;t=55`; it matters only with a 429.
    limit = parse_ratelimit_headers(headers) if status == 429 else None
    if limit is not None:
        return max(1.0, float(limit.reset_in_seconds))
    # The Hub never sends the other form of this header, a date.
    delay = headers.get("Retry-After", "").strip()
    return max(1.0, float(delay)) if delay.isdecimal() else DEFAULT_RETRY_AFTER
