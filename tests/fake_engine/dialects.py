"""The forms of an answer on each route, whole and as events, as SGLang 0.5.23 sends them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

DONE = b"data: [DONE]\n\n"


def event(content: object, name: str | None = None) -> bytes:
    data = f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
    return (f"event: {name}\n{data}" if name else data).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of an answer, and the request."""

    model: str
    pieces: list[str]
    finish: str  # "stop" or "length"
    prompt_tokens: int
    with_usage: bool = False
    asked: Mapping[str, object] = field(default_factory=dict)  # the request

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": len(self.pieces),
            "total_tokens": self.prompt_tokens + len(self.pieces),
        }


class Dialect:
    """The base class speaks the native `/generate`."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def whole(self) -> dict[str, object]:
        return self._state(len(self.answer.pieces))

    def opening(self) -> list[bytes]:
        return []

    def piece(self, number: int) -> bytes:
        return event(self._state(number + 1))

    def closing(self) -> list[bytes]:
        return [DONE]

    def _state(self, count: int) -> dict[str, object]:
        done = count == len(self.answer.pieces)
        meta = {
            "id": "fake",
            "finish_reason": {"type": self.answer.finish} if done else None,
            "prompt_tokens": self.answer.prompt_tokens,
            "completion_tokens": count,
        }
        return {"text": "".join(self.answer.pieces[:count]), "meta_info": meta}


class Completion(Dialect):
    name = "text_completion"
    chunk_name = "text_completion"

    def whole(self) -> dict[str, object]:
        choice = self._said(self.answer.text) | {"finish_reason": self.answer.finish}
        return self._frame(self.name, [choice]) | {"usage": self.answer.usage}

    def piece(self, number: int) -> bytes:
        return self._chunk(self._increment(self.answer.pieces[number]))

    def closing(self) -> list[bytes]:
        last = [self._chunk(self._increment("") | {"finish_reason": self.answer.finish})]
        if self.answer.with_usage:
            last.append(event(self._frame(self.chunk_name, []) | {"usage": self.answer.usage}))
        return [*last, DONE]

    def _said(self, text: str) -> dict[str, object]:
        return {"text": text}

    def _increment(self, text: str) -> dict[str, object]:
        return {"text": text}

    def _chunk(self, choice: dict[str, object]) -> bytes:
        return event(self._frame(self.chunk_name, [{"finish_reason": None} | choice]))

    def _frame(self, name: str, choices: list[dict[str, object]]) -> dict[str, object]:
        return {
            "id": "fake",
            "object": name,
            "created": 0,
            "model": self.answer.model,
            "choices": [{"index": 0, "logprobs": None} | choice for choice in choices],
        }


class Chat(Completion):
    name = "chat.completion"
    chunk_name = "chat.completion.chunk"

    def opening(self) -> list[bytes]:
        return [self._chunk({"delta": {"role": "assistant", "content": ""}})]

    def _said(self, text: str) -> dict[str, object]:
        return {"message": {"role": "assistant", "content": text, "tool_calls": None}}

    def _increment(self, text: str) -> dict[str, object]:
        return {"delta": {"content": text} if text else {}}


class Responses(Dialect):
    """Its events have numbers, and name their part of the answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self._number = -1

    def whole(self) -> dict[str, object]:
        message = self._message("completed", self.answer.text)
        return self._response("completed", [message], self._usage)

    @property
    def _usage(self) -> dict[str, object]:
        usage = self.answer.usage
        return {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        }

    def opening(self) -> list[bytes]:
        response = self._response("in_progress", [])
        item = {**self._message("in_progress", ""), "content": []}
        return [
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
            self._event("response.output_item.added", output_index=0, item=item),
            self._part("response.content_part.added", part=_text("")),
        ]

    def piece(self, number: int) -> bytes:
        delta = self.answer.pieces[number]
        return self._part("response.output_text.delta", delta=delta, logprobs=[])

    def closing(self) -> list[bytes]:
        text, item = self.answer.text, self._message("completed", self.answer.text)
        return [
            self._part("response.output_text.done", text=text, logprobs=[]),
            self._part("response.content_part.done", part=_text(text)),
            self._event("response.output_item.done", output_index=0, item=item),
            self._event("response.completed", response=self.whole()),
        ]

    def _part(self, kind: str, **fields: object) -> bytes:
        return self._event(kind, item_id="msg_fake", output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: object) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number, **fields}, kind)

    def _message(self, status: str, text: str) -> dict[str, object]:
        said = {"status": status, "content": [_text(text)]}
        return {"id": "msg_fake", "type": "message", "role": "assistant", **said}

    def _response(
        self,
        status: str,
        output: list[dict[str, object]],
        usage: dict[str, object] | None = None,
    ) -> dict[str, object]:
        """Build a response. The usage comes before the fields that repeat the request."""
        return {
            "id": "resp_fake",
            "object": "response",
            "created_at": 0,
            "model": self.answer.model,
            "status": status,
            "output": output,
            "usage": usage,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": self.answer.asked.get("tools") or [],
            "metadata": self.answer.asked.get("metadata") or {},
        }


def _text(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": []}


class Messages(Dialect):
    def whole(self) -> dict[str, object]:
        return self._message(len(self.answer.pieces)) | {
            "content": [{"type": "text", "text": self.answer.text}],
            "stop_reason": self._stop_reason,
        }

    def opening(self) -> list[bytes]:
        block = {"type": "text", "text": ""}
        return [
            self._event("message_start", message=self._message(0)),
            self._event("content_block_start", index=0, content_block=block),
        ]

    def piece(self, number: int) -> bytes:
        delta = {"type": "text_delta", "text": self.answer.pieces[number]}
        return self._event("content_block_delta", index=0, delta=delta)

    def closing(self) -> list[bytes]:
        usage = {"output_tokens": len(self.answer.pieces)}
        delta = {"stop_reason": self._stop_reason}
        return [
            self._event("content_block_stop", index=0),
            self._event("message_delta", delta=delta, usage=usage),
            self._event("message_stop"),
        ]

    @property
    def _stop_reason(self) -> str:
        return "max_tokens" if self.answer.finish == "length" else "end_turn"

    def _event(self, kind: str, **fields: object) -> bytes:
        return event({"type": kind, **fields}, kind)

    def _message(self, said: int) -> dict[str, object]:
        return {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": self.answer.model,
            "content": [],
            "usage": {"input_tokens": self.answer.prompt_tokens, "output_tokens": said},
        }
