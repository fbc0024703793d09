"""Where media may come from."""

from __future__ import annotations

from tests.guards.guard import Guard

_MEDIA = "router/requests/media.py"
_ELSEWHERE = (
    "tests/requests/test_media.py::test_media_from_elsewhere_is_refused_wherever_it_stands"
)
_ENGINE = "tests/e2e_sglang/test_attack_by_media.py::test_"

GUARDS = (
    Guard(
        "media come from nowhere else",
        "router/requests/routes.py",
        "    check_media(fields, media_domains)\n",
        "",
        _ENGINE + "it_is_not_asked_wherever_the_media_stand[chat]",
    ),
    Guard(
        "whatever a URL calls itself",
        _MEDIA,
        '        value.pop("content_hash", None)\n',
        '        value.pop("content_hash", None)\n'
        '        if value.get("type") == "base64":\n            return\n',
        _ENGINE + "it_is_not_asked_wherever_the_media_stand[as base64]",
    ),
    Guard(
        "nor as sound in base64",
        _MEDIA,
        'if part.get("input_audio") is not None:',
        "if False:",
        "tests/requests/test_media.py::test_nor_where_only_base64_is_taken[inline audio-data0]",
    ),
    Guard(
        "nor do they in what Responses and Embeddings call input",
        _MEDIA,
        '"system", "input", "query"',
        '"system", "query"',
        _ELSEWHERE + "[embeddings-file:///etc/passwd]",
    ),
    Guard(
        "nor in what is ranked",
        _MEDIA,
        '"query", "documents")',
        '"query")',
        _ELSEWHERE + "[rerank, document-file:///etc/passwd]",
    ),
    Guard(
        "nor by way of a tool",
        _MEDIA,
        'for key in ("content", "output"):',
        'for key in ("content",):',
        _ELSEWHERE + "[responses, a tool's-/etc/passwd]",
    ),
    Guard(
        "nor as Anthropic writes them",
        _MEDIA,
        'if part.get("type") == "image" and part.get("source") is not None:',
        "if False:",
        _ELSEWHERE + "[messages-/etc/passwd]",
    ),
    Guard(
        "nor as SGLang does",
        _MEDIA,
        "if fields.get(name) is not None:",
        "if False:",
        _ELSEWHERE + "[generate, many-file:///etc/passwd]",
    ),
    Guard(
        "a host must be listed",
        _MEDIA,
        "return https is not None and https[1] in domains",
        "return https is not None",
        _ELSEWHERE + "[image-https://other.example.org/a.png]",
    ),
    Guard(
        "a listed host is listed at one port",
        _MEDIA,
        "(?::443)?",
        r"(?::\d+)?",
        _ELSEWHERE + "[video-https://img.example.org:8000/a.png]",
    ),
    Guard(
        "no two parsers disagree about a URL",
        _MEDIA,
        "https://([a-z0-9.-]+)",
        r"https://(?:[^/]*@)?([a-z0-9.-]+)",
        _ELSEWHERE + r"[bare-https://evil.example\\@img.example.org/a.png]",
    ),
    Guard(
        "base64 is no path",
        _MEDIA,
        'return f"data:application/octet-stream;base64,{value}"',
        "return value",
        "tests/requests/test_media.py::test_bare_base64_on_the_native_route_can_not_be_a_path",
    ),
    Guard(
        "a manifest is no medium",
        "router/requests/manifests.py",
        "return not any(mark in content for mark in _MARKS)",
        "return True",
        "tests/requests/test_media.py::test_a_list_of_where_media_are_is_no_media[video-0]",
    ),
    Guard(
        "what an image is, nobody just says",
        _MEDIA,
        '        value.pop("content_hash", None)\n',
        "",
        "tests/requests/test_media.py::test_a_callers_claim_of_what_an_image_is_does_not_go_upstream",
    ),
    Guard(
        "an engine follows no redirect to a host that is not listed",
        "engines/command.py",
        "*(media_domains or (_NO_DOMAIN,))",
        "*media_domains",
        "tests/engines/test_command.py::test_no_media_domain_is_not_any_media_domain",
    ),
)
