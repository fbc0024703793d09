"""The messages between an ingress and a replica: arguments and items of actor calls.

A small argument is part of the call itself. Ray would put a large one into its object store,
which other processes map and which may be written to disk. So everything is sent in chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from router.requests.dialects import Problem
from router.requests.listing import LoadedModel
from router.requests.trace_context import Trace
from router.side_process import Body

_WHOLE = 1024 * 1024  # bytes; a larger copy would block the event loop


@dataclass(slots=True)
class RoutePlan:
    """The routing information of a request, for Ray's request router.

    * `model`: see `warm_models.label`; "": any replica will do.
    * `session`: see `session_key`.
    * `avoid`: replicas that lost an earlier attempt.
    * `replica`, `why`, `meant`: written by the request router: the chosen replica, the reason,
      and the best replica.
    """

    model: str = ""
    session: str = ""
    avoid: tuple[str, ...] = ()
    replica: str = ""
    meant: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """A request for a replica, without its body. Its `repr` shows only the route.

    `ingress` names the ingress that waits for the answer; `answer` names the answer, for
    `Receipt`.
    """

    ingress: str
    route: str
    request_id: str
    caller: str  # the label of its API key, from `Keyring.label`
    hf_token: str | None = None
    trace: Trace | None = None
    answer: str = ""

    def __repr__(self) -> str:
        return f"Errand({self.route!r})"


@dataclass(frozen=True, slots=True)
class Receipt:
    """How much of an answer was read since it began, in `window.weight`. For one replica."""

    replica: str
    answer: str
    taken: int


class Shown(StrEnum):
    """What an operator can ask a replica for."""

    STATE = "state"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Look:
    """An operator's question to one replica."""

    replica: str
    at: Shown


@dataclass(frozen=True, slots=True)
class AnswerHead:
    status: int
    headers: Mapping[str, str]
    streams: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """No answer, or no more of it. `leaving`: whether this replica is shutting down."""

    problem: Problem
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The answer is complete. Without this item, it is not."""


# A replica answers with comments, a head, chunks of the body, and an end. A refusal may come at
# any point and ends the answer.
Item = AnswerHead | bytes | AnswerEnd | Refused


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A replica's reply to a visit. `loaded`: models that are ready. `in_flight`, `waiting`:
    requests of all ingresses."""

    ready: bool
    loaded: Sequence[LoadedModel] = ()
    replica: str = ""
    in_flight: int = 0
    waiting: int = 0


def is_comment(piece: bytes) -> bool:
    """Whether this is a single comment of an event stream and nothing else."""
    return piece.startswith(b":") and piece.partition(b"\n\n")[1:] == (b"\n\n", b"")


def joined(pieces: Sequence[bytes]) -> Body:
    """The body from its chunks. A large body stays in chunks."""
    return tuple(pieces) if sum(map(len, pieces)) > _WHOLE else b"".join(pieces)
