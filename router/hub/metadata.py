"""Parses the Hub's metadata of a repository. Its content is untrusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from router.errors import HubUnavailable, InvalidModelId, ModelDisabled, UnsupportedModel
from router.hub.errors import DEFAULT_RETRY_AFTER, not_a_hub
from router.models import Access, ModelRef, ResolvedModel
from router.repository.chat_template import reranks, template_in
from router.repository.task import Signs, telling
from router.side_process import Aside, SideProcessDied

# Bytes that parse in a millisecond or two. The metadata of 100,000 files has 8 MB.
_SMALL = 128 * 1024  # bytes

_MOST_NAMES = 64  # of architectures

Found = tuple[ResolvedModel, Signs]


async def read_info(content: bytes, aside: Aside | None) -> Found:
    """Return the model at its commit, and the signs of its task. Raises `RouterError`.

    `aside` parses large metadata, so that the event loop stays free.
    """
    if aside is None or len(content) <= _SMALL:
        return parse_info(content)
    try:
        return (await aside.run(parse_aside, data=content))[0]
    except (TimeoutError, SideProcessDied):
        raise HubUnavailable(
            "The Hugging Face Hub's description of the model could not be read: try again.",
            retry_after=DEFAULT_RETRY_AFTER,
        ) from None


def parse_aside(data: bytes) -> tuple[Found, bytes]:
    return parse_info(data), b""


def parse_info(content: bytes) -> Found:
    try:
        info = json.loads(content)
        name, commit = ModelRef.parse(info["id"]).repo_id, info["sha"]
        files = telling(file["rfilename"] for file in info.get("siblings") or ())
        config = info.get("config") or {}
        signs = Signs(_architectures(config), files, name=name, purpose=_purpose(info))
        template = template_in(config)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidModelId):
        raise not_a_hub() from None
    if info.get("disabled"):
        raise ModelDisabled(f"The model {name} was disabled on the Hugging Face Hub.")
    if not (isinstance(commit, str) and ModelRef(name, commit).is_commit):
        raise UnsupportedModel(f"The model {name} has no commit.")
    model = ResolvedModel(
        name,
        commit,
        access=_access(info),
        created=_created(info),
        reranks=None if template is None else reranks(template),
    )
    return model, signs


def _access(info: dict[str, Any]) -> Access:
    if info.get("private"):
        return Access.PRIVATE
    return Access.GATED if info.get("gated") else Access.PUBLIC


def _created(info: dict[str, Any]) -> int:
    """When the repository was created, in seconds since 1970; 0 if the Hub does not say."""
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        return int(datetime.fromisoformat(info["createdAt"]).timestamp())
    return 0


def _architectures(config: Mapping[str, Any]) -> tuple[str, ...]:
    named = config.get("architectures")
    return (
        tuple(n for n in named[:_MOST_NAMES] if isinstance(n, str))
        if isinstance(named, list)
        else ()
    )


def _purpose(info: Mapping[str, Any]) -> str | None:
    """The pipeline tag from the model card, or else the Hub's own "sentence-similarity"."""
    card = info.get("cardData")
    chosen = card.get("pipeline_tag") if isinstance(card, dict) else None
    if isinstance(chosen, str):
        return chosen
    return "sentence-similarity" if info.get("pipeline_tag") == "sentence-similarity" else None
