"""Images, audio and video come with the request, or from hosts that the operator lists.

SGLang would read `file://`, local paths and any URL; what it does not know to be one of
these it tries as a path, then as base64. So here everything becomes a `data:` URL that holds
media, an `https` URL of a listed host, or an error. Redirects are the engine's to check
(`--allowed-media-domains`).
"""

from __future__ import annotations

import re

from router.errors import InvalidRequest
from router.requests.manifests import holds_media

_DATA = re.compile(r"data:[A-Za-z0-9.+/;=_-]*;base64,")  # lower case, as SGLang reads it
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]+={0,2}\s*")
# Strict: two URL parsers that disagree about a backslash or an `@` are a way around.
_HTTPS = re.compile(r"https://([a-z0-9.-]+)(?::443)?(?:/[!-\[\]-~]*)?")

_PARTS_IN = ("messages", "system", "input", "query", "documents")
_MEDIA_KEYS = ("image_url", "video_url", "audio_url", "file_url", "image", "video", "audio")
_NATIVE = ("image_data", "video_data", "audio_data")  # of /generate


def check_media(fields: dict[str, object], domains: frozenset[str]) -> None:
    """Raise `InvalidRequest` for media from elsewhere.

    In place: bare base64 on /generate becomes a `data:` URL, as `/9j/4AAQ...`, the start
    of every JPEG, is also a path; and `content_hash` goes, a caller's unchecked claim
    that could name another caller's image.
    """
    for name in _PARTS_IN:
        _check_parts(fields.get(name), domains)
    for name in _NATIVE:
        if fields.get(name) is not None:
            fields[name] = _native(fields[name], domains)


def _check_parts(value: object, domains: frozenset[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _check_parts(item, domains)
    elif isinstance(value, dict):
        _check_part(value, domains)


def _check_part(part: dict[str, object], domains: frozenset[str]) -> None:
    for key in _MEDIA_KEYS:
        if part.get(key) is not None:
            _check_source(part[key], domains)
    if part.get("input_audio") is not None:
        _check_base64(part["input_audio"], domains)
    if part.get("type") == "image" and part.get("source") is not None:
        _check_anthropics(part["source"], domains)
    for key in ("content", "output"):  # of a message, and of a tool's result
        _check_parts(part.get(key), domains)


def _check_source(value: object, domains: frozenset[str]) -> None:
    if isinstance(value, dict):
        value.pop("content_hash", None)
        value = value.get("url")
    if not isinstance(value, str) or not _is_allowed(value, domains):
        raise _refusal(domains)


def _check_anthropics(source: object, domains: frozenset[str]) -> None:
    if isinstance(source, dict) and source.get("type") == "base64":  # its `url` is not read
        _check_base64(source, domains)
    else:
        _check_source(source, domains)


def _check_base64(value: object, domains: frozenset[str]) -> None:
    """Of what SGLang writes `data:` before."""
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, str) or not holds_media(data):
        raise _refusal(domains)


def _native(value: object, domains: frozenset[str]) -> object:
    if isinstance(value, list):
        return [None if item is None else _native(item, domains) for item in value]
    if isinstance(value, dict) and value.keys() == {"url"}:
        value = value["url"]
    if isinstance(value, str):
        if _is_allowed(value, domains):
            return value
        if _BASE64.fullmatch(value) and holds_media(value):
            return f"data:application/octet-stream;base64,{value}"
    raise _refusal(domains)


def _is_allowed(url: str, domains: frozenset[str]) -> bool:
    if data := _DATA.match(url):
        return holds_media(url[data.end() :])
    https = _HTTPS.fullmatch(url)
    return https is not None and https[1] in domains


def _refusal(domains: frozenset[str]) -> InvalidRequest:
    hosts = f", or `https` URLs of {', '.join(sorted(domains))}" if domains else ""
    return InvalidRequest(
        f"Images, audio and video must be `data:...;base64,` URLs of their content{hosts}: "
        "nothing else is fetched, and files of this machine are not read."
    )
