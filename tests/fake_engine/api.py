"""The routes of an SGLang server that the router uses."""

from __future__ import annotations

import asyncio
import json
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tests.fake_engine.behaviour import Behaviour, Journal
from tests.fake_engine.dialects import (
    DONE,
    Answer,
    Chat,
    Completion,
    Dialect,
    Messages,
    Responses,
    event,
)
from tests.fake_engine.refusals import flat, invalid
from tests.fake_engine.saver import Saver, SaverFlags
from tests.fake_engine.wire import Reply, Request, die

GENERATION: dict[str, type[Dialect]] = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completion,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
    "/generate": Dialect,
}
_VECTOR = (0.6, 0.8, -0.020408163265306, 0.0714285714285714)
_EMBEDDING = {"/v1/embeddings", "/encode", "/v1/rerank", "/v1/classify"}
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens")

Json = dict[str, Any]


class Api:
    """Serves one model."""

    def __init__(
        self,
        model_path: str,
        served_name: str,
        behaviour: Behaviour,
        journal: Journal,
        *,
        is_embedding: bool,
        key: str | None,
        saver: SaverFlags,
    ) -> None:
        """`key`: every request must send it; None: no key needed."""
        self._expected = None if key is None else f"Bearer {key}"
        self.ready = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._in_flight = 0
        self._model_path = model_path
        self._name = served_name
        self._behaviour = behaviour
        self._journal = journal
        self._saver = Saver(saver, behaviour, journal)
        self._is_embedding = is_embedding
        self._get = {
            "/ready": self._readiness,
            "/ping": self._readiness,
            "/health": self._health,
            "/health_generate": self._health,
            "/model_info": self._model_info,
            "/get_model_info": self._model_info,
            "/v1/models": self._models,
        }
        if behaviour.phases is not None:
            self._get["/server_info"] = self._server_info
        self._post = {
            "/v1/embeddings": self._embeddings,
            "/encode": self._encode,
            "/v1/rerank": self._rerank,
            "/v1/score": self._score,
            "/v1/classify": self._classify,
            "/v1/tokenize": self._tokenize,
            "/v1/detokenize": self._detokenize,
            "/v1/messages/count_tokens": self._count_tokens,
        }

    async def __call__(self, request: Request, reply: Reply) -> None:
        self._in_flight += 1
        self.idle.clear()
        try:
            await self._route(request, reply)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self.idle.set()

    def cancelled(self, request: Request, reply: Reply) -> None:
        self._journal.write("cancelled", path=request.path, sent=reply.sent)

    async def _route(self, request: Request, reply: Reply) -> None:
        path, method = request.path, request.method
        if self._expected not in (None, request.headers.pop("authorization", None)):
            reply.whole(403)
        elif method == "GET" and path in self._get:
            await self._get[path](reply)
        elif method == "POST" and path in self._saver.routes:
            await self._saver.routes[path](request, reply)
        elif method == "POST" and path in {*GENERATION, *self._post}:
            await self._submit(request, reply)
        elif path in {*self._get, *GENERATION, *self._post}:
            reply.whole(405, {"detail": "Method Not Allowed"})
        else:
            reply.whole(404, {"detail": "Not Found"})

    async def _submit(self, request: Request, reply: Reply) -> None:
        body = _parsed(request.body)
        self._journal.write(
            "request",
            method=request.method,
            path=request.path,
            headers=request.headers,
            body=request.body.decode("utf-8", "replace") if body is None else body,
        )
        if body is None:
            reply.whole(400, invalid("json_invalid", request.path))
        elif ":" in str(body.get("model")):
            reply.whole(400, flat(400, "LoRA is not enabled"))
        else:
            self._saver.begin()
            try:
                await self._work(request, body, reply)
            finally:
                self._saver.end()

    async def _work(self, request: Request, body: Json, reply: Reply) -> None:
        path = request.path
        reply.die_after = self._behaviour.die_after_bytes
        if self._behaviour.poison and self._behaviour.poison in json.dumps(body):
            asyncio.get_running_loop().call_later(self._behaviour.poison_takes, die)
            await asyncio.Event().wait()
        if self._behaviour.die_before_answer or (self._is_embedding and path in GENERATION):
            die()  # the real engine dies if an embedding engine is asked to generate
        if self._behaviour.hang:
            await asyncio.Event().wait()
        if self._behaviour.error is not None:
            said = f" {request}" if self._behaviour.echo else ""
            await self._refuse(self._behaviour.error, path, body, reply, said)
        elif path in GENERATION:
            try:
                await self._generate(path, body, reply)
            except (AttributeError, TypeError, ValueError) as error:
                if reply.sent:
                    raise
                reply.whole(400, invalid(str(error), path))
        elif path in _EMBEDDING and not self._is_embedding:
            message = "This model does not appear to be an embedding model by default."
            reply.whole(400, flat(400, message))
        else:
            try:
                self._post[path](body, reply)
            except (KeyError, TypeError) as error:
                reply.whole(400, invalid(f"missing {error}", path))

    # Generation

    async def _generate(self, path: str, body: Json, reply: Reply) -> None:
        answer = self._answer(body)
        dialect = GENERATION[path](answer)
        interval = self._behaviour.interval
        if not body.get("stream"):
            await asyncio.sleep(interval * len(answer.pieces))
            await self._may_end()
            reply.whole(200, dialect.whole())
            return
        reply.begin()
        for opening in dialect.opening():
            await reply.event(opening)
        for number in range(len(answer.pieces)):
            await asyncio.sleep(interval)
            if number == len(answer.pieces) - 1:
                await self._may_end()
            await reply.event(dialect.piece(number))
        for closing in dialect.closing():
            await reply.event(closing)
        reply.end()

    async def _may_end(self) -> None:
        file = self._behaviour.ends_with
        while file is not None and not Path(file).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)

    async def _refuse(
        self, status: int, path: str, body: Json, reply: Reply, said: str
    ) -> None:
        file = f"{self._model_path}/config.json"
        message = f"[Errno 2] No such file or directory: '{file}'{said}"
        if path != "/generate":
            reply.whole(status, flat(status, message))
        elif not body.get("stream"):
            reply.whole(status, {"error": {"message": message}})
        else:
            reply.begin()
            await reply.event(event({"error": {"message": message}}))
            await reply.event(DONE)
            reply.end()

    def _answer(self, body: Json) -> Answer:
        words = (self._behaviour.answer or f"I am {self._name}").split(" ")
        if self._saver.garbled:
            words = ["!"] * len(words)
        pieces = [words[0], *(f" {word}" for word in words[1:])]
        if self._behaviour.tokens is not None:
            pieces = list(islice(cycle(pieces), self._behaviour.tokens))
        parameters = body | (body.get("sampling_params") or {})
        limit = next(
            (parameters[name] for name in _LIMITS if parameters.get(name)), len(pieces)
        )
        return Answer(
            model=body.get("model") or self._name,  # echoed, even if it is wrong
            pieces=pieces[:limit],
            finish="length" if limit < len(pieces) else "stop",
            prompt_tokens=_count_words(body),
            with_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            asked=body,
        )

    # The other tasks

    def _embeddings(self, body: Json, reply: Reply) -> None:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        vector = list(islice(cycle(_VECTOR), self._behaviour.dimensions))
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index in range(len(texts))
        ]
        usage = {"prompt_tokens": _count_words(body), "total_tokens": _count_words(body)}
        model = body.get("model") or self._name
        reply.whole(200, {"object": "list", "data": data, "model": model, "usage": usage})

    def _encode(self, body: Json, reply: Reply) -> None:
        vector = list(islice(cycle(_VECTOR), self._behaviour.dimensions))
        prompt = len(body["input_ids"])
        reply.whole(200, {"embedding": vector, "meta_info": {"prompt_tokens": prompt}})

    def _rerank(self, body: Json, reply: Reply) -> None:
        ranked = [
            {"index": index, "score": 1 / (index + 1), "document": document}
            for index, document in enumerate(body["documents"])
        ]
        reply.whole(200, ranked)

    def _score(self, body: Json, reply: Reply) -> None:
        scores = [[0.5 for _ in body["label_token_ids"]] for _ in body["items"]]
        reply.whole(200, {"object": "scoring", "scores": scores, "model": self._name})

    def _classify(self, body: Json, reply: Reply) -> None:
        data = [{"index": 0, "label": "LABEL_0", "probs": [1.0], "num_classes": 1}]
        reply.whole(200, {"object": "list", "model": self._name, "data": data})

    def _tokenize(self, body: Json, reply: Reply) -> None:
        tokens = [ord(letter) for letter in body["prompt"]]
        reply.whole(200, {"tokens": tokens, "count": len(tokens), "max_model_len": 1024})

    def _detokenize(self, body: Json, reply: Reply) -> None:
        reply.whole(200, {"text": "".join(map(chr, body["tokens"]))})

    def _count_tokens(self, body: Json, reply: Reply) -> None:
        reply.whole(200, {"input_tokens": _count_words(body)})

    # Information about the engine

    async def _readiness(self, reply: Reply) -> None:
        reply.whole(200 if self.ready else 503)

    async def _health(self, reply: Reply) -> None:
        if self._saver.asleep:
            self._journal.write("health while asleep")
        if self._behaviour.unwell or self._saver.asleep:
            reply.whole(503)
            return
        if self._behaviour.hang:
            await asyncio.Event().wait()
        await self._readiness(reply)

    async def _model_info(self, reply: Reply) -> None:
        path = "/somebody/else" if self._behaviour.wrong_model else self._model_path
        reply.whole(
            200,
            {
                "model_path": path,
                "tokenizer_path": path,
                "served_model_name": self._name,
                "is_generation": not self._is_embedding,
            },
        )

    async def _server_info(self, reply: Reply) -> None:
        reply.whole(200, {"startup_time": self._behaviour.phases, "version": "0"})

    async def _models(self, reply: Reply) -> None:
        card = {
            "id": self._name,
            "object": "model",
            "created": 0,
            "owned_by": "sglang",
            "max_model_len": 4096,
        }
        reply.whole(200, {"object": "list", "data": [card]})


def _parsed(body: bytes) -> Json | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _count_words(body: Json) -> int:
    return len(json.dumps(body).split())
