"""Decides which fields of a body, and which media in them, an engine may see.

It follows SGLang 0.5.23's own request classes (`entrypoints/openai/protocol.py`,
`managers/io_struct.py`). A test reads those classes and fails on a field without a decision
here, so that a new SGLang can't open a hole unnoticed.

| field | what it is | here |
|---|---|---|
| `rid`, `request_id` | the engine's id of a request: can collide with another's | dropped |
| `session_id`, `conversation_id`, `routing_key` | names for routing | dropped |
| `custom_labels` | labels of the engine's metrics | dropped |
| `priority` | jumps the engine's queue | dropped |
| `data_parallel_rank`, `*_dp_rank` | picks a GPU | dropped |
| `cache_salt` | the prefix cache's namespace | mixed into the router's own |
| `extra_key` | the same, before it is salted | dropped |
| `custom_params` | input of a logit processor | dropped |
| `store` | keep the answer in the engine's memory | false |
| `session_params` | continues another request's state | refused |
| `bootstrap_*` | has the engine connect to a host | refused |
| `lora_path` | loads an adapter from a path | refused |
| `custom_logit_processor` | runs the caller's pickled code | refused |
| `background` | generates on after the answer, unseen by the pool | refused |
| `previous_response_id` | reads a stored answer of any caller | refused |
| `chat_template_kwargs.chat_template` | runs the caller's template | refused |
| `stop_regex` | takes exponential time for nested repeats | refused |
| `*embed_override*` | replaces embedding vectors in the model | refused |
| `/generate`: all but the list below | much of the engine's internals | refused |

`router/requests/bounds.py` has the allowed values of the other fields.

Images, audio and video come with the request, or from hosts that the operator lists. SGLang
would read `file://`, local paths and any URL, and tries anything else as a path, then as
base64. So each of them must be a `data:` URL that contains media, or an `https` URL of a listed
host; anything else is an error. The engine checks redirects (`--allowed-media-domains`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.errors import InvalidRequest
from router.requests.bounds import BOUNDS, check_source
from router.requests.manifests import holds_media

# The answer does not depend on these.
DROPPED = frozenset(
    {
        "rid",
        "request_id",
        "session_id",
        "conversation_id",
        "routing_key",
        "custom_labels",
        "priority",
        "data_parallel_rank",
        "routed_dp_rank",
        "disagg_prefill_dp_rank",
        "cache_salt",
        "extra_key",
        "custom_params",
        "store",
    }
)

# The answer would be different without these, so the caller gets an error.
REFUSED = {
    "session_params": "send the whole conversation instead",
    "bootstrap_host": "this worker does not split prefill from decode",
    "bootstrap_port": "this worker does not split prefill from decode",
    "bootstrap_room": "this worker does not split prefill from decode",
    "lora_path": "name a model that has the adapter merged",
    "custom_logit_processor": "a request can't bring code",
    "background": "an answer ends with its request",
    "stop_regex": "name strings in `stop`",
    "embed_override_token_id": "send text or token ids",
    "embed_overrides": "send text or token ids",
    "query_embed_overrides": "send text or token ids",
    "item_embed_overrides": "send text or token ids",
    "previous_response_id": "answers are not kept; send the whole conversation in `input`",
}

_REFUSED = frozenset(REFUSED)

# GenerateReqInput is the engine's own structure; most of it was never meant for callers.
GENERATE = frozenset(
    {
        "text",
        "input_ids",
        "image_data",
        "video_data",
        "audio_data",
        "modalities",
        "sampling_params",
        "return_logprob",
        "logprob_start_len",
        "top_logprobs_num",
        "token_ids_logprob",
        "return_text_in_logprobs",
        "return_hidden_states",
        "return_prompt_token_ids",
        "return_entropy",
    }
)

_DATA = re.compile(r"data:[A-Za-z0-9.+/;=_-]*;base64,")  # lower case, as in SGLang
# Possessive quantifiers: both parts match line breaks, and a body of line breaks would be tried
# at each split.
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]++={0,2}\s*")
# Strict, because two URL parsers that disagree about a backslash or an `@` allow a bypass.
_HTTPS = re.compile(r"https://([a-z0-9.-]+)(?::443)?(?:/[!-\[\]-~]*)?")

_PARTS_IN = ("messages", "system", "input", "query", "documents")
_MEDIA_KEYS = ("image_url", "video_url", "audio_url", "file_url", "image", "video", "audio")
_NATIVE = ("image_data", "video_data", "audio_data")  # in /generate
# A part with none of these has no media of its own.
_HOLDS_MEDIA = frozenset((*_MEDIA_KEYS, "input_audio", "source"))

# Per request, so that neither the router nor an engine works through a list of a million tiny
# images. Other APIs take 100 images. A video is hundreds of them.
MOST_MEDIA, MOST_VIDEOS = 128, 8


@dataclass(slots=True)
class _Allowed:
    """The allowed sources of a request's media, and how many more media it may have."""

    hosts: frozenset[str]
    media: int = MOST_MEDIA
    videos: int = MOST_VIDEOS

    def take(self, kind: str) -> None:
        """Count one medium. `kind` is the name of its field. Raises `InvalidRequest`."""
        self.media -= 1
        self.videos -= "video" in kind
        if min(self.media, self.videos) < 0:
            raise InvalidRequest(
                f"A request may have {MOST_MEDIA} images, sounds and videos at most, and "
                f"{MOST_VIDEOS} videos of these."
            )


def admit_fields(path: str, content: dict[str, object]) -> dict[str, object]:
    """Return the fields of `content` that go upstream on this route. Raises `InvalidRequest`.

    A refused field without effect (null, false, empty) is dropped, because clients send their
    defaults. Null is dropped from known fields, too: clients use it to omit a field, and SGLang
    accepts it for only a few of them.
    """
    rules = BOUNDS[path]
    fields = {
        name: value
        for name, value in content.items()
        if name not in DROPPED and (value is not None or name not in rules)
    }
    if not _REFUSED.isdisjoint(fields):
        _drop_refused(fields)
    if path == "/generate":
        for name in fields.keys() - GENERATE:
            if fields.pop(name):
                shown = _shown(name)
                raise InvalidRequest(
                    f"`{shown or 'That field'}` is not offered on {path}.", param=shown
                )
        _drop_custom_params(fields.get("sampling_params"))
    if path == "/v1/responses":
        fields["store"] = False  # SGLang's default is true
    kwargs = fields.get("chat_template_kwargs")
    if isinstance(kwargs, dict) and kwargs.pop("chat_template", None):
        raise InvalidRequest(
            "`chat_template_kwargs.chat_template` is not offered: the model's own is used.",
            param="chat_template_kwargs.chat_template",
        )
    return fields


def _drop_refused(fields: dict[str, object]) -> None:
    for name, advice in REFUSED.items():
        if fields.pop(name, None):
            raise InvalidRequest(f"`{name}` is not offered: {advice}.", param=name)


def _drop_custom_params(sampling: object) -> None:
    for item in sampling if isinstance(sampling, list) else [sampling]:
        if isinstance(item, dict):
            item.pop("custom_params", None)


def _shown(name: str) -> str | None:
    """The name of a field if it is safe to show: a caller's key can be anything."""
    return name if name.isidentifier() and len(name) <= 64 else None


def check_media(fields: dict[str, object], domains: frozenset[str]) -> None:
    """Raise `InvalidRequest` for media from other sources, naming their field.

    Changes the fields in place: bare base64 on /generate becomes a `data:` URL, because
    `/9j/4AAQ...`, the start of every JPEG, is also a path. It removes `content_hash`, an
    unchecked claim of the caller that could name another caller's image.
    """
    name, allowed = "", _Allowed(domains)
    try:
        for name in _PARTS_IN:
            if name in fields:
                _check_parts(fields[name], allowed)
        for name in _NATIVE:
            if name in fields and fields[name] is not None:
                fields[name] = _native(fields[name], name, allowed)
    except InvalidRequest as refused:
        refused.param = name
        raise


def _check_parts(value: object, allowed: _Allowed) -> None:
    if isinstance(value, list):
        for item in value:
            _check_parts(item, allowed)
    elif isinstance(value, dict):
        _check_part(value, allowed)


def _check_part(part: dict[str, object], allowed: _Allowed) -> None:
    if not _HOLDS_MEDIA.isdisjoint(part):
        _check_own(part, allowed)
    for key in ("content", "output"):  # of a message; of a tool result
        if key in part:
            _check_parts(part[key], allowed)


def _check_own(part: dict[str, object], allowed: _Allowed) -> None:
    """Check the media of a part, except for those in nested parts."""
    for key in _MEDIA_KEYS:
        if part.get(key) is not None:
            _check_source(part[key], key, allowed)
    if part.get("input_audio") is not None:
        _check_base64(part["input_audio"], allowed)
    if part.get("type") == "image" and part.get("source") is not None:
        _check_anthropics(part["source"], allowed)


def _check_source(value: object, kind: str, allowed: _Allowed) -> None:
    allowed.take(kind)
    if isinstance(value, dict):
        value.pop("content_hash", None)
        check_source(value)
        value = value.get("url")
    if not isinstance(value, str) or not _is_allowed(value, allowed):
        raise _refusal(allowed.hosts)


def _check_anthropics(source: object, allowed: _Allowed) -> None:
    if isinstance(source, dict) and source.get("type") == "base64":  # SGLang ignores its `url`
        _check_base64(source, allowed)
    else:
        _check_source(source, "image", allowed)


def _check_base64(value: object, allowed: _Allowed) -> None:
    """Check base64 data that SGLang prefixes with `data:`."""
    allowed.take("base64")
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, str) or not holds_media(data):
        raise _refusal(allowed.hosts)


def _native(value: object, kind: str, allowed: _Allowed) -> object:
    if isinstance(value, list):
        return [None if item is None else _native(item, kind, allowed) for item in value]
    allowed.take(kind)
    if isinstance(value, dict) and value.keys() == {"url"}:
        value = value["url"]
    if isinstance(value, str):
        if _is_allowed(value, allowed):
            return value
        if _BASE64.fullmatch(value) and holds_media(value):
            return f"data:application/octet-stream;base64,{value}"
    raise _refusal(allowed.hosts)


def _is_allowed(url: str, allowed: _Allowed) -> bool:
    if data := _DATA.match(url):
        return holds_media(url[data.end() :])
    https = _HTTPS.fullmatch(url)
    return https is not None and https[1] in allowed.hosts


def _refusal(domains: frozenset[str]) -> InvalidRequest:
    hosts = f", or `https` URLs of {', '.join(sorted(domains))}" if domains else ""
    return InvalidRequest(
        f"Images, audio and video must be `data:...;base64,` URLs of their content{hosts}: "
        "nothing else is fetched, and files of this machine are not read."
    )
