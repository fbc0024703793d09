"""What a transport asks for and what it gets back. Knows ports only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One call, freed of its transport."""

    route: str  # as the router knows it: "/v1/chat/completions"
    body: bytes  # JSON, as it came
    hf_token: str | None = None  # from the transport's own place for it, unchecked
    caller: str = ""  # tells callers apart (a digest of the API key); never a secret


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing to send yet: what the caller is waiting for. Only ever before `Head`."""

    stage: str  # "queued", "fetching", "starting"
    done: int = 0  # bytes on disk, while fetching
    total: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """The answer's status and the headers that may be shown. Exactly one an answer."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of the answer, as they arrived; boundaries mean nothing."""

    data: bytes


Part = Progress | Head | Body


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A line of `/v1/models`."""

    id: str
    owned_by: str
    loaded: bool


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: the default model is up, or has failed for good. `leaving`: draining."""

    ready: bool
    leaving: bool
