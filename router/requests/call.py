"""A call: a request body, parsed and checked exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from router.errors import InvalidHfToken, InvalidModelId, InvalidRequest
from router.requests.bounds import check_fields
from router.requests.dialects import RESPONSES
from router.requests.fields import admit_fields, check_media
from router.requests.parse_time import count_values
from router.requests.prompt_length import PromptLength, longest_prompt
from router.requests.reasoning import check_reasoning
from router.requests.routes import ROUTES, Route
from router.requests.rules import Demands
from router.secrets import Token
from router.side_process import Body

# orjson reads 1,024 levels but writes only 254. What is read here must be written again.
_MOST_LEVELS = 250
# Each value costs memory and time: 32 MiB of `[],` take 1 GB and seconds. The limit allows the
# numbers of a prompt of a million tokens, and the commas of any text of 32 MiB.
_MOST_VALUES = 1_500_000
# Per request. Each salt is hashed, and nobody else is served meanwhile.
MOST_SALTS = 1024
LONGEST_SALT = 256  # characters
LONGEST_MODEL = 1024  # characters; a Hub id with a revision has 322
# Bytes that orjson allocates for a text at first, and keeps. A stream holds them to its end.
_ROOMY = 4096

Salt = str | list[str] | None


class Call(NamedTuple):
    """A parsed body, without the fields that must not reach an engine.

    `model`, `hf_token` and `cache_salt` are as written: None if absent or null. `content` is a
    JSON object without them. `demands` and `longest` say what the model's vocabulary and
    context must hold. `repr` shows neither the token nor the content.
    """

    route: Route
    model: str | None
    stream: bool  # the caller wants an event stream
    hf_token: object
    cache_salt: Salt
    content: Body
    demands: Demands
    longest: PromptLength

    def __repr__(self) -> str:
        return f"Call({self.route.path!r}, {self.model!r}, stream={self.stream})"

    def upstream_body(self, served_name: str, salt: Salt) -> Body:
        """The JSON for an engine. `salt` separates the callers' prefix caches."""
        own: dict[str, object] = {}
        if self.route.has_model:
            own["model"] = served_name
        if self.route.salted and salt:
            own["cache_salt"] = salt
        return self._with(own)

    def onward_body(self) -> Body:
        """The JSON for another worker: everything that it needs, without the token."""
        own: dict[str, object] = {}
        if self.model is not None:
            own["model"] = self.model
        if self.cache_salt is not None:
            own["cache_salt"] = self.cache_salt
        return self._with(own)

    def _with(self, own: dict[str, object]) -> Body:
        head = orjson.dumps(own)
        if isinstance(self.content, bytes):
            return _merged(head, self.content)
        first, *others = self.content
        return (_merged(head, first), *others)


def parse_aside(body: bytes, path: str, media_domains: frozenset[str]) -> tuple[Call, bytes]:
    """Run `parse` in a side process, which returns the content in pieces."""
    call = parse(body, ROUTES[path], media_domains)
    assert isinstance(call.content, bytes)  # noqa: S101 - it was just written
    return call._replace(content=b""), call.content


def parse(body: bytes, route: Route, media_domains: frozenset[str] = frozenset()) -> Call:
    """Parse a request's JSON. Raises `InvalidRequest`, naming the wrong field.

    Duplicate keys are resolved here (the last one wins), so they are never forwarded.
    `media_domains`: hosts from which media may be fetched, in addition to `data:` URLs.
    """
    sent = _read_object(body)
    token = _read_token(sent.pop("hf_token", None))
    model = _read_model(sent.pop("model", None))
    stream = sent.pop("stream", None)
    if not (stream is None or isinstance(stream, bool)):
        raise InvalidRequest("`stream` must be true or false.", param="stream")
    salt = _read_salt(sent) if route.salted else None
    fields = admit_fields(route.path, sent)
    demands = check_fields(route.path, fields)
    check_media(fields, media_domains)
    if route.dialect is RESPONSES:
        check_reasoning(fields)
    if stream is not None and route.streams:  # SGLang's /v1/tokenize refuses `stream` with 501
        fields["stream"] = stream
    content = orjson.dumps(fields)
    if len(content) < _ROOMY:
        content = bytes(memoryview(content))
    streams, longest = bool(stream) and route.streams, longest_prompt(fields)
    return Call(route, model, streams, token, salt, content, demands, longest)


def _merged(first: bytes, second: bytes) -> bytes:
    """Merge two JSON objects without common keys. The second one may be only the beginning of
    an object."""
    if first == b"{}":
        return second
    if second == b"{}":
        return first
    return b"".join((memoryview(first)[:-1], b",", memoryview(second)[1:]))


def _read_token(field: object) -> str | None:
    if field is None or isinstance(field, str):
        return field
    raise InvalidHfToken("`hf_token` must be a string.")


def _read_model(field: object) -> str | None:
    if not (field is None or isinstance(field, str)):
        raise InvalidRequest("`model` must be a string.", param="model")
    if field is not None and len(field) > LONGEST_MODEL:
        raise InvalidModelId(
            f"The model's name is too long: {LONGEST_MODEL} characters at most."
        )
    return field


def _read_salt(content: Mapping[str, object]) -> Salt:
    """The caller's own prefix cache namespace, or one for each prompt of a batch."""
    salt = content.get("cache_salt")
    if salt is None or salt == "":
        return None
    salts: list[object] = salt if isinstance(salt, list) else [salt]
    if len(salts) > MOST_SALTS:
        raise InvalidRequest(
            f"`cache_salt` holds too much: {MOST_SALTS} strings at most.", param="cache_salt"
        )
    strings = [one for one in salts if isinstance(one, str) and len(one) <= LONGEST_SALT]
    if len(strings) < len(salts):
        raise InvalidRequest(
            f"`cache_salt` must be a string of at most {LONGEST_SALT} characters, or a list "
            "of such strings.",
            param="cache_salt",
        )
    return strings if isinstance(salt, list) else strings[0]


def _read_object(body: bytes) -> dict[str, object]:
    if len(body) > _MOST_VALUES and count_values(body) > _MOST_VALUES:
        raise InvalidRequest(
            f"The body holds too much: {_MOST_VALUES} commas and brackets at most."
        )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # `doc` of the error holds the whole body, which may contain a token. `msg` is a fixed
        # phrase.
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg} (byte {error.pos})."
        ) from None
    if not isinstance(content, dict):
        raise InvalidRequest("The body must be a JSON object.")
    if len(body) > 2 * _MOST_LEVELS:  # a shorter body can't be nested too deeply
        try:
            orjson.dumps(content)
        except orjson.JSONEncodeError:
            raise InvalidRequest(
                f"The body is nested too deeply: {_MOST_LEVELS} levels at most."
            ) from None
    return content


def caller_token(header: str | None, field: object) -> Token | None:
    """The caller's own Hub token: from the header, else from the body's `hf_token`, else None.

    Raises `InvalidHfToken` if it is not a string or malformed.
    """
    if header:
        return Token(header)
    if field is None or field == "":
        return None
    if not isinstance(field, str):
        raise InvalidHfToken("`hf_token` must be a string.")
    return Token(field)
