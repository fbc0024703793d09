"""Guards of where media may come from."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, insert, never, swap, text, without

_MEDIA = "router/requests/fields.py"
_ELSEWHERE = (
    "tests/requests/test_media.py::test_media_from_elsewhere_is_refused_wherever_it_stands"
)
_ENGINE = "tests/e2e_sglang/test_attack_by_media.py::test_"

GUARDS = (
    Guard(
        "Media from a host that is not listed are refused",
        "router.requests.call:parse",
        drop("check_media"),
        _ENGINE + "it_is_not_asked_wherever_the_media_stand[chat]",
    ),
    Guard(
        "A URL is checked whatever type it claims",
        "router.requests.fields:_check_source",
        insert("if isinstance(value, dict) and value.get('type') == 'base64': return"),
        _ENGINE + "it_is_not_asked_wherever_the_media_stand[as base64]",
    ),
    Guard(
        "Sound in base64 is checked",
        "router.requests.fields:_check_own",
        never("input_audio"),
        "tests/requests/test_media.py::test_nor_where_only_base64_is_taken[inline audio-data0]",
    ),
    Guard(
        "Media in the field `input` are checked",
        "router.requests.fields:_PARTS_IN",
        without("input"),
        _ELSEWHERE + "[embeddings-file:///etc/passwd]",
    ),
    Guard(
        "Media in ranked documents are checked",
        "router.requests.fields:_PARTS_IN",
        without("documents"),
        _ELSEWHERE + "[rerank, document-file:///etc/passwd]",
    ),
    Guard(
        "Media in a tool's output are checked",
        "router.requests.fields:_check_part",
        without("output"),
        _ELSEWHERE + "[responses, a tool's-/etc/passwd]",
    ),
    Guard(
        "Media in Anthropic's form are checked",
        "router.requests.fields:_check_own",
        never("source"),
        _ELSEWHERE + "[messages-/etc/passwd]",
    ),
    Guard(
        "Media in SGLang's own form are checked",
        "router.requests.fields:check_media",
        never("None"),
        _ELSEWHERE + "[generate, many-file:///etc/passwd]",
    ),
    Guard(
        "A host of media must be listed",
        "router.requests.fields:_is_allowed",
        without("hosts"),
        _ELSEWHERE + "[image-https://other.example.org/a.png]",
    ),
    Guard(
        "A listed host is listed at one port only",
        "router.requests.fields:_HTTPS",
        text("(?::443)?", r"(?::\d+)?"),
        _ELSEWHERE + "[video-https://img.example.org:8000/a.png]",
    ),
    Guard(
        "A URL that two parsers could read differently is refused",
        "router.requests.fields:_HTTPS",
        text("https://(", "https://(?:[^/]*@)?("),
        _ELSEWHERE + r"[bare-https://evil.example\\@img.example.org/a.png]",
    ),
    Guard(
        "Base64 can't be read as a path",
        "router.requests.fields:_native",
        text("data:application/octet-stream;base64,", ""),
        "tests/requests/test_media.py::test_bare_base64_on_the_native_route_can_not_be_a_path",
    ),
    Guard(
        "A manifest is not taken as media",
        "router.requests.manifests:holds_media",
        swap("any(_)", "False"),
        "tests/requests/test_media.py::test_a_list_of_where_media_are_is_no_media[video-0]",
    ),
    Guard(
        "A caller's claim of an image's hash is not forwarded",
        "router.requests.fields:_check_source",
        drop("content_hash"),
        "tests/requests/test_media.py::test_a_callers_claim_of_what_an_image_is_does_not_go_upstream",
    ),
    Guard(
        "An engine follows no redirect to a host that is not listed",
        "engines.command:argv",
        without("_NO_DOMAIN"),
        "tests/engines/test_command.py::test_without_media_domains_none_is_allowed",
    ),
)
