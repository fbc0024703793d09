"""Reads what the Hub says of a repository. It may say anything."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx2

from router.errors import InvalidModelId, ModelDisabled, UnsupportedModel
from router.hub.errors import not_a_hub
from router.models import Access, ModelRef, ResolvedModel
from router.repository.task import Signs


def parse_info(response: httpx2.Response) -> tuple[ResolvedModel, Signs]:
    """The model at its commit, and what tells its task. Raises `RouterError`."""
    try:
        info = response.json()
        name, commit = ModelRef.parse(info["id"]).repo_id, info["sha"]
        names = (file["rfilename"] for file in info.get("siblings") or ())
        files = frozenset(name for name in names if isinstance(name, str))
        signs = Signs(_architectures(info), files)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidModelId):
        raise not_a_hub() from None
    if info.get("disabled"):
        raise ModelDisabled(f"The model {name} was disabled on the Hugging Face Hub.")
    if not ModelRef(name, commit).is_commit:
        raise UnsupportedModel(f"The model {name} has no commit.")
    model = ResolvedModel(name, commit, access=_access(info), created=_created(info))
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


def _architectures(info: dict[str, Any]) -> tuple[str, ...]:
    named = (info.get("config") or {}).get("architectures")
    return tuple(n for n in named if isinstance(n, str)) if isinstance(named, list) else ()
