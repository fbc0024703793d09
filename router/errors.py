"""All errors that a caller can get, as one tree of exceptions.

    RouterError
    ├── RequestError        the request itself is wrong: change it
    │   ├── InvalidRequest, RouteNotFound, MethodNotAllowed
    │   ├── BodyTooLarge, UploadTimeout, UnsupportedEncoding, HeadersTooLarge
    │   ├── AnswerTooLarge
    │   ├── InvalidModelId, WrongEndpoint
    │   └── HostNotAllowed, OriginNotAllowed, InvalidApiKey
    ├── AccessError         this caller may not use this model: change token or rights
    │   ├── InvalidHfToken, HfTokenScope
    │   ├── ModelGated, ModelDisabled, ModelNotAllowed
    │   └── ModelNotFound, RevisionNotFound
    ├── FitError            the model does not fit this worker: choose another
    │   ├── UnsupportedModel, ModelTooLarge
    │   └── InsufficientDisk, NoRoom
    ├── RetryLater          nothing is wrong with the request: try again
    │   ├── QueueFull, RateLimited, CallerQuarantined
    │   └── ModelLoading, EngineUnavailable, HubUnavailable (HubLimited)
    ├── DeadlineExceeded    the request took longer than it may
    ├── EngineFailed        the engine died under the request
    ├── StorageFailed       the worker's disk can't be used: the operator has to act
    └── InternalError       a defect of the router

A class defines the `code` and the HTTP `status` of OpenAI's error envelope. The `message` of
an instance says what happened and what the caller can do. It is shown to callers, so it must
not contain a token, a local path, or anything about another caller.
"""

from __future__ import annotations

from typing import ClassVar


class RouterError(Exception):
    """Base class. `retry_after` is in seconds; None if waiting does not help."""

    code: ClassVar[str]
    status: ClassVar[int]
    type: ClassVar[str] = "invalid_request_error"
    param: str | None = None  # the field of the request that is at fault
    retry_after: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(RouterError):
    """The request itself is wrong."""


class InvalidRequest(RequestError):
    """`param` names the invalid field, if a single field is at fault."""

    code, status = "invalid_request", 400

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class RouteNotFound(RequestError):
    code, status = "route_not_found", 404


class MethodNotAllowed(RequestError):
    code, status = "method_not_allowed", 405


class BodyTooLarge(RequestError):
    code, status = "body_too_large", 413


class UploadTimeout(RequestError):
    code, status = "upload_timeout", 408


class UnsupportedEncoding(RequestError):
    code, status = "unsupported_encoding", 415


class HeadersTooLarge(RequestError):
    code, status = "headers_too_large", 431


class AnswerTooLarge(RequestError):
    """The answer is larger than the platform between the worker and the caller accepts."""

    code, status = "answer_too_large", 413


class InvalidModelId(RequestError):
    code, status = "invalid_model_id", 400
    param = "model"


class WrongEndpoint(RequestError):
    code, status = "wrong_endpoint", 400
    param = "model"


class HostNotAllowed(RequestError):
    """The request names a host that this server does not serve."""

    code, status = "host_not_allowed", 421


class OriginNotAllowed(RequestError):
    """A web page of another origin sent the request."""

    code, status = "origin_not_allowed", 403
    type = "permission_error"


class InvalidApiKey(RequestError):
    code, status = "invalid_api_key", 401
    type = "authentication_error"


class AccessError(RouterError):
    """This caller may not use this model."""

    type = "permission_error"
    param = "model"


class InvalidHfToken(AccessError):
    code, status = "invalid_hf_token", 401
    param = "hf_token"
    type = "authentication_error"


class HfTokenScope(AccessError):
    code, status = "hf_token_scope", 403
    param = "hf_token"


class ModelGated(AccessError):
    code, status = "model_gated", 403


class ModelDisabled(AccessError):
    code, status = "model_disabled", 403


class ModelNotAllowed(AccessError):
    code, status = "model_not_allowed", 403


class ModelNotFound(AccessError):
    code, status = "model_not_found", 404
    type = "invalid_request_error"


class RevisionNotFound(AccessError):
    code, status = "revision_not_found", 404
    type = "invalid_request_error"


class FitError(RouterError):
    """This worker can't serve the model."""

    param = "model"


class UnsupportedModel(FitError):
    code, status = "unsupported_model", 422


class ModelTooLarge(FitError):
    code, status = "model_too_large", 422


class InsufficientDisk(FitError):
    code, status = "insufficient_disk", 507
    type = "server_error"


class NoRoom(FitError):
    """Pinned engines take the memory that the model needs."""

    code, status = "no_room", 503
    type = "server_error"
    retry_after = 60.0


class RetryLater(RouterError):
    """The request is fine, but the worker can't serve it now."""

    type = "server_error"
    retry_after: float

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(RetryLater):
    code, status = "queue_full", 429
    type = "rate_limit_error"


class RateLimited(RetryLater):
    """This caller has used up its share of the worker."""

    code, status = "rate_limited", 429
    type = "rate_limit_error"


class CallerQuarantined(RetryLater):
    """This caller's requests have crashed an engine that others use."""

    code, status = "caller_quarantined", 429
    type = "rate_limit_error"
    param = "model"


class ModelLoading(RetryLater):
    code, status = "model_loading", 503
    param = "model"


class EngineUnavailable(RetryLater):
    code, status = "engine_unavailable", 503
    param = "model"


class HubUnavailable(RetryLater):
    """`cause` explains the failure to the operator and never contains a token. If it is "", the
    message says enough."""

    code, status = "hub_unavailable", 503

    def __init__(self, message: str, *, retry_after: float = 1.0, cause: str = "") -> None:
        super().__init__(message, retry_after=retry_after)
        self.cause = cause


class HubLimited(HubUnavailable):
    """The Hub's rate limit for this token, or for anonymous callers, is exceeded."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "The Hugging Face Hub is limiting requests: try again later.",
            retry_after=retry_after,
        )


class DeadlineExceeded(RouterError):
    code, status = "deadline_exceeded", 504
    type = "server_error"


class EngineFailed(RouterError):
    code, status = "engine_failed", 502
    type = "server_error"


class StorageFailed(RouterError):
    """The model cache can't be read or written. The log names the path and the reason."""

    code, status = "storage_failed", 500
    type = "server_error"


class InternalError(RouterError):
    code, status = "internal_error", 500
    type = "server_error"
