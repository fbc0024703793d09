"""Plain HTTP to the Hub, for requests and answers that the real client hides or never sends."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

from tests.loopback_hub import LoopbackHub


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes


def ask(
    hub: LoopbackHub,
    method: str,
    url: str,
    *,
    token: str | bool = False,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, without following redirects. `url` may omit the Hub's origin."""
    address = urlsplit(hub.endpoint + url if url.startswith("/") else url)
    trust = ssl.create_default_context(cafile=hub.ca_file)
    connection = http.client.HTTPSConnection(address.netloc, context=trust, timeout=60)
    sent = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, f"{address.path}?{address.query}", headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()
