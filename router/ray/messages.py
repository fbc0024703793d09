"""What passes between an ingress and a replica, as arguments and items of actor calls alone.

A small argument travels inside of the call itself. A large one would be put into Ray's object
store, which other processes map and which can be written to disk: so everything goes in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from router.requests.dialects import Problem
from router.requests.listing import LoadedModel
from router.requests.trace_context import Trace
from router.side_process import Body

_WHOLE = 1024 * 1024  # bytes; one copy of more would hold up the loop


@dataclass(slots=True)
class RoutePlan:
    """Where a request may go: all of it that Ray's request router goes by.

    * `model`: see `warm_models.label`; "": any replica will do.
    * `session`: see `session_key`.
    * `avoid`: replicas under which an earlier attempt was lost.
    * `replica`, `why`: the request router writes here where it went, and for what reason;
      `meant`: where it should have gone.
    """

    model: str = ""
    session: str = ""
    avoid: tuple[str, ...] = ()
    replica: str = ""
    meant: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """A request on its way to a replica, without its body. `repr` shows nothing of it.

    `ingress` names the one that waits for the answer, `answer` the answer: see `Receipt`.
    """

    ingress: str
    route: str
    request_id: str
    caller: str  # as `Keyring.label` names its API key
    hf_token: str | None = None
    trace: Trace | None = None
    answer: str = ""

    def __repr__(self) -> str:
        return f"Errand({self.route!r})"


@dataclass(frozen=True, slots=True)
class Receipt:
    """How much of an answer was read, since it began (see `window.weight`). For one replica."""

    replica: str
    answer: str
    taken: int


class Shown(StrEnum):
    """What the operator may see of a replica."""

    STATE = "state"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Look:
    """The operator looks at one replica."""

    replica: str
    at: Shown


@dataclass(frozen=True, slots=True)
class AnswerHead:
    status: int
    headers: Mapping[str, str]
    streams: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no answer, or no more of it. `leaving`: because this replica is going."""

    problem: Problem
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The answer is whole. Without this, it is not."""


# A replica answers: comments, a head, pieces of the body, an end; or somewhere a refusal.
Item = AnswerHead | bytes | AnswerEnd | Refused


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What a replica tells an ingress that looks in. `loaded`: models that answer at once.
    `in_flight`, `waiting`: requests, of all ingresses."""

    ready: bool
    loaded: Sequence[LoadedModel] = ()
    replica: str = ""
    in_flight: int = 0
    waiting: int = 0


def is_comment(piece: bytes) -> bool:
    """Whether this is one comment of an event stream, and nothing with it."""
    return piece.startswith(b":") and piece.partition(b"\n\n")[1:] == (b"\n\n", b"")


def joined(pieces: Sequence[bytes]) -> Body:
    """A body as it came in pieces; a long one stays in these."""
    return tuple(pieces) if sum(map(len, pieces)) > _WHOLE else b"".join(pieces)
