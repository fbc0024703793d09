"""Asks the Hub for a token's account and for the time. For the operator only."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from router.errors import HubUnavailable
from router.hub.reasons import reason_of
from router.secrets import Token

_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class HubAnswers:
    """The answer of a Hub that can be reached."""

    status: int
    date: datetime | None  # the Hub's clock
    account: str = ""  # the token's account; "": no token was sent, or the Hub does not say
    may_write: bool = False  # whether the token has write access


def ask_account(
    endpoint: str, credential: Token | None, *, ca_file: str | None = None
) -> HubAnswers:
    """Send one request without redirects, so that the token goes only to the Hub.

    Raises `HubUnavailable`, with the reason and without the token.
    """
    verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
    headers = {"Authorization": f"Bearer {credential.reveal()}"} if credential else {}
    reason = ""
    try:
        with httpx2.Client(verify=verify, timeout=_TIMEOUT) as client:
            return _read(client.get(f"{endpoint}/api/whoami-v2", headers=headers))
    except httpx2.HTTPError as error:
        reason = reason_of(error, _TIMEOUT)
    raise HubUnavailable(reason)  # outside of `except`: the client's errors hold the token


def _read(response: httpx2.Response) -> HubAnswers:
    date = None
    with suppress(KeyError, ValueError, TypeError):
        date = parsedate_to_datetime(response.headers["Date"])
    said: Any = None
    if response.status_code == 200:
        with suppress(ValueError):
            said = response.json()
    said = said if isinstance(said, dict) else {}
    name = said.get("name")
    return HubAnswers(
        response.status_code, date, name if isinstance(name, str) else "", _may_write(said)
    )


def _may_write(said: Mapping[str, Any]) -> bool:
    auth = said.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    return isinstance(token, dict) and token.get("role") == "write"
