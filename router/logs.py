"""Log formats, and the redaction of secrets in log records.

Callers, repositories and engines have a say in what is logged. A record is one line all the
same, in which nothing is hidden (`one_line`).

The filter is on every handler, so that it sees the records of all libraries. It is the last
line of defense: code holds a secret as a `router.secrets.Secret`, which does not print.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote

import orjson

from router.secrets import Secret
from router.told import Told, ToldLines, ToldRecord

MASK = "***"

# At INFO these loggers print signed URLs, at DEBUG headers and xet tokens. The access log
# prints query strings.
_VERBOSE = (
    "aiohttp.access",
    "filelock",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "urllib3",
)

# The output of engines passes through these patterns, and callers can influence it. Repeats
# that could rescan a long text from every position are therefore bounded.

# Every text that the patterns below would change contains one of these, or a field of a name
# that ends in `token`. `12 tokens`, in most lines about requests, is none.
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
# What separates a field's name from its value: `: v`, `=v`, `": "v"`, `', b'v'`; also with
# escaped quotes.
_BETWEEN = r"""(?:\\*["'])?(?:\s*[:=]\s*|(?<=["'])\s*,\s*)(?:b?\\*["'])?"""

# Without \b in front: in a repr, `\nhf_...` has the letter n there.
_SHAPES = re.compile(
    r"(?:hf|rpa)_[A-Za-z0-9]{16,}"  # Hugging Face and RunPod
    r"|api_org_[A-Za-z0-9]{16,}"
    r"|eyJ[\w-]{8,512}\.[\w-]{8,}(?:\.[\w-]*)?"  # JWT: OIDC and xet tokens
)
_BEARER = re.compile(rf"""(Bearer(?:\s|%20|\\+[nrt]|["'])+){_VALUE}""", re.IGNORECASE)
# A bare `token: 12` is a count in SGLang's log; with a quote it is a value.
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
        """Replace these from now on as well."""
        self._forms |= {form for secret in secrets for form in _forms(secret.reveal())}
        # Longest first: one secret may begin with another.
        longest = sorted(self._forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest))) if longest else None

    def __call__(self, text: str) -> str:
        """The text without its secrets."""
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
    """The forms in which a text may contain a secret: plain, in JSON, in a repr, in a URL."""
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")}
    return {form for form in forms if form}


def redact(text: str) -> str:
    """The text without anything that looks like a secret."""
    return _BY_SHAPE(text)


_BY_SHAPE = Redactor()


class RedactionFilter(logging.Filter):
    """Redacts a record in place, before its handler formats it. Never raises.

    A record without secrets keeps its `args` and `exc_info`. In another one, these are
    replaced by the redacted text.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redact = redactor
        self._tracebacks = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record, ToldRecord):
            return True  # made of parts that were redacted
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


# What could forge a line, or change how one is shown: control characters (C0 without the tab,
# C1), separators of lines, marks that hide or turn text around, and halves of characters.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff]"
)


def one_line(text: str) -> str:
    """The text as it can stand in a log: in one line, which shows all that is in it."""
    if text.isascii() and text.isprintable():  # most are, and this is quick to see
        return text
    return _UNSAFE.sub(_escaped, text)


def _escaped(unsafe: re.Match[str]) -> str:
    return unsafe[0].encode("unicode_escape").decode("ascii")


class _Timestamps:
    """The times of records as text. Many are of the same second."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def of(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).isoformat()[:-6]
            self._second = second
        return f"{self._text}.{int((created - second) * 1000):03d}Z"


class _TextFormatter(logging.Formatter):
    """One line a record. The lines of a traceback follow, set off from all records."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = _Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        of, rest = self._timestamps.of, f" {record.levelname:<7} {record.name}: "
        if isinstance(record, ToldLines):
            return "\n".join([f"{of(at)}{rest}{record.text(told)}" for at, told in record.each])
        head = of(record.created) + rest
        if isinstance(record, ToldRecord):
            return head + record.getMessage()
        lines = [head + one_line(record.getMessage())]
        for more in (record.exc_text, record.stack_info):
            lines += (f"  | {one_line(line)}" for line in (more or "").split("\n") if line)
        return "\n".join(lines)


class _JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = _Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, ToldLines):
            return "\n".join([self._told(record, at, told) for at, told in record.each])
        if isinstance(record, ToldRecord):
            return self._told(record, record.created, record.told)
        line = self._head(record, record.created)
        line["message"] = record.getMessage()
        if record.exc_text:  # the filter has formatted it
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return _ascii(line)

    def _told(self, record: logging.LogRecord, at: float, told: Told) -> str:
        line = self._head(record, at)
        line |= told.fields()
        quick = orjson.dumps(line)
        if quick.isascii() and b"\x7f" not in quick:  # as a rule
            return quick.decode()
        return _ascii(line)

    def _head(self, record: logging.LogRecord, at: float) -> dict[str, object]:
        return {
            "time": self._timestamps.of(at),
            "level": record.levelname,
            "logger": record.name,
        }


def _ascii(line: dict[str, object]) -> str:
    return json.dumps(line).replace("\x7f", "\\u007f")


def configure(level: str, form: str, secrets: Iterable[Secret], stream: TextIO) -> Redactor:
    """Make a redacting handler on `stream` the only log handler of the process.

    `form` is "text" or "json". Call it after all libraries are imported: huggingface_hub
    adds a handler of its own at import, which would bypass the filter and is removed here.

    Returns what redacts, which may learn more secrets.
    """
    handler = logging.StreamHandler(stream)
    redactor = Redactor(secrets)
    handler.addFilter(RedactionFilter(redactor))
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    # What no format shows need not be found out for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _VERBOSE:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    return redactor
