"""The decisions that `Admission` makes and remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from router.config.catalog import OperatorModel
from router.hub.interfaces import HubAnswer
from router.models import ResolvedModel
from router.secrets import Token


class Admitted(NamedTuple):
    """A model that the caller may use now."""

    model: ResolvedModel
    operator: OperatorModel | None
    download_credential: Token | None  # None: download anonymously


@dataclass(frozen=True, slots=True)
class Decision:
    """A model that a caller may use until one of the Hub's `answers` expires.

    It does not hold the caller's token, which must not stay in memory after its request.
    """

    model: ResolvedModel
    operator: OperatorModel | None
    answers: tuple[HubAnswer[ResolvedModel] | HubAnswer[None], ...] = ()
    newest: str | None = None  # the Hub's commit of an unpinned name
    with_callers_token: bool = False
    own_token: Token | None = None  # the worker's token, if the caller has none
