"""Redacts secrets in texts and log records.

The filter is on every handler, so it sees the records of all libraries. It is the last line of
defense: code holds a secret as a `router.secrets.Secret`, which does not print.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

from router.secrets import Secret
from router.told import ToldRecord

MASK = "***"

# Engine output passes through these patterns, and callers can influence it. Repeats that could
# rescan a long text from every position are therefore bounded.

# A cheap test before the patterns below: each text that they would change contains one of these
# marks, or a field name that ends in `token`. `12 tokens`, which most request lines contain,
# does not match.
_TOKEN_FIELD = re.compile(r"""token[\s\\:='"]""")
_MARKS = (
    "hf_",
    "authorization",
    "bearer",
    "key",
    "eyj",
    "rpa_",
    "_org_",
    "?",
    "&",
    "x-",
)

_VALUE = r"""[^\s"'`\\,;&<>()\[\]{}]+"""
# Separates a field's name from its value: `: v`, `=v`, `": "v"`, `', b'v'`, also with escaped
# quotes.
_BETWEEN = r"""(?:\\*["'])?(?:\s*[:=]\s*|(?<=["'])\s*,\s*)(?:b?\\*["'])?"""

# No \b in front: in a repr, `\nhf_...` has the letter n there.
_SHAPES = re.compile(
    r"(?:hf|rpa)_[A-Za-z0-9]{16,}"  # Hugging Face and RunPod
    r"|api_org_[A-Za-z0-9]{16,}"
    r"|eyJ[\w-]{8,512}\.[\w-]{8,}(?:\.[\w-]*)?"  # JWT: OIDC and xet tokens
)
_BEARER = re.compile(rf"""(Bearer(?:\s|%20|\\+[nrt]|["'])+){_VALUE}""", re.IGNORECASE)
# A bare `token: 12` is a count in SGLang's log. A quoted one is a secret.
_FIELD = re.compile(
    rf"""(authorization{_BETWEEN}(?:(?:Basic|Bearer|Digest|Token)\s+)?"""
    rf"""|(?:access|api|hf|hub|xet)[_-]?(?:token|key){_BETWEEN}"""
    rf"""|token\\*["']?\s*[:=]\s*b?\\*["']){_VALUE}""",
    re.IGNORECASE,
)
_QUERY = re.compile(r"""\?[^\s"'<>]+""")
_SIGNED = re.compile(
    r"(?:X-(?:Amz|Goog|Xet)-[\w-]{1,40}|Signature|Policy|Key-Pair-Id|Expires|[?&]sig)(?:=|%3D)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"""((?:X-(?:Amz|Goog|Xet)-[\w-]{1,40}|(?<=&)(?:Signature|Policy|Key-Pair-Id|Expires|sig))=)"""
    r"""[^\s"'<>&]+""",
    re.IGNORECASE,
)


class Redactor:
    """Replaces the given secrets, and everything that looks like a secret."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._forms: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Redact these secrets from now on, too."""
        self._forms |= {form for secret in secrets for form in _forms(secret.reveal())}
        # Longest first: one secret may begin with another.
        longest = sorted(self._forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest))) if longest else None

    def __call__(self, text: str) -> str:
        """Return the text with its secrets masked."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        lowered = text.lower()
        if any(map(lowered.__contains__, _MARKS)) or (
            "token" in lowered and _TOKEN_FIELD.search(lowered)
        ):
            return _by_shape(text)
        return text


def _by_shape(text: str) -> str:
    text = _SHAPES.sub(MASK, text)
    text = _QUERY.sub(_without_signature, text)
    text = _PARAMETER.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    return _FIELD.sub(rf"\1{MASK}", text)


def _without_signature(query: re.Match[str]) -> str:
    return f"?{MASK}" if _SIGNED.search(query[0]) else query[0]


def _forms(secret: str) -> set[str]:
    """The spellings of a secret in a text: plain, in JSON, in a repr, in a URL."""
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")}
    return {form for form in forms if form}


def redact(text: str) -> str:
    """Mask everything in the text that looks like a secret."""
    return _BY_SHAPE(text)


_BY_SHAPE = Redactor()


class RedactionFilter(logging.Filter):
    """Redacts a record in place, before its handler formats it. Never raises.

    A record without secrets keeps its `args` and `exc_info`. Otherwise the redacted text
    replaces them.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redact = redactor
        self._tracebacks = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record, ToldRecord):
            return True  # its parts contain no secrets
        try:
            self._clean(record)
        except Exception as error:  # noqa: BLE001 - a log call must not fail or leak
            record.msg = f"(a log record that could not be redacted: {type(error).__name__})"
            record.args = record.exc_info = record.exc_text = record.stack_info = None
        return True

    def _clean(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong log call; `logging` would print args
            message = f"{record.msg} (could not be formatted with {record.args!r})"
            record.msg, record.args = message, None
        clean = self._redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._tracebacks.formatException(record.exc_info)
        if record.exc_text:
            clean = self._redact(record.exc_text)
            if clean != record.exc_text:
                record.exc_text, record.exc_info = clean, None
        if record.stack_info:
            record.stack_info = self._redact(record.stack_info)
