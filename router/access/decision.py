"""What `Admission` decides, and what it hands out."""

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
    """A model that a caller may use until one of the Hub's `answers` ends.

    It holds no caller's token: such a token is in memory no longer than its request.
    """

    model: ResolvedModel
    operator: OperatorModel | None
    answers: tuple[HubAnswer[ResolvedModel] | HubAnswer[None], ...] = ()
    newest: str | None = None  # the commit that an unpinned name has on the Hub
    with_callers_token: bool = False
    own_token: Token | None = None  # the worker's, where the caller has none
