"""The ways from a caller to an upstream: none, each product, this router, another router."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from tests.bench.processes import Program, Running, running
from tests.bench.products import API_KEY, STREAMING, WHOLE, engine, products, router
from tests.loopback_hub import LoopbackHub
from tests.servable import servable

CHAT = "/v1/chat/completions"
DIRECT, ROUTER, BEFORE = "direct", "router", "before"
_FILES = {**servable(), "model.safetensors": bytes(1000)}


@dataclass(frozen=True, slots=True)
class Way:
    """`whole` answers at once, `streams` streams. `quick`: it can serve many callers at once.

    `starts`: seconds from each start until it answered.
    """

    name: str
    whole: Running
    streams: Running
    quick: bool = True
    starts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Ways:
    ways: tuple[Way, ...]
    headers: Mapping[str, str]  # of a caller that may use the models


@contextmanager
def open_ways(
    directory: Path, checkouts: Mapping[str, Path], starts: int, only: Sequence[str] = ("",)
) -> Iterator[Ways]:
    """Start everything, with all models warm. `checkouts` are the routers, by name.

    * `starts`: how often each is started.
    * `only`: the products, by name; "" for all.
    """
    with ExitStack() as stack:
        hub = stack.enter_context(gated_hub())
        headers = caller_headers(hub)

        def start(name: str, program: Program) -> Running:
            return stack.enter_context(running(program, directory / f"{name}.log"))

        def started(name: str, programs: list[Program]) -> tuple[float, ...]:
            """The durations of all starts. Only the last program stays."""
            times = []
            for number, program in enumerate(programs):
                with running(program, directory / f"{name}-{number}.log") as one:
                    times.append(one.seconds)
            return tuple(times)

        upstreams = [start(m[6:], engine(m, directory / m[6:])) for m in (WHOLE, STREAMING)]
        whole, streams = (one.url.removeprefix("http://") for one in upstreams)
        ways = [Way(DIRECT, upstreams[0], upstreams[1])]
        for product in products():
            if only[0] and product.name not in only:
                continue
            name = product.name.replace(" ", "-")
            places = [directory / f"{name}-{number}" for number in range(starts - 1)]
            times = started(name, [product.build(whole, place) for place in places])
            both = (
                start(f"{name}-w", product.build(whole, directory / f"{name}-w")),
                start(f"{name}-s", product.build(streams, directory / f"{name}-s")),
            )
            times = (*times, both[0].seconds)
            ways.append(Way(product.name, *both, quick=product.quick, starts=times))
        for name, checkout in checkouts.items():
            environ = hub.environment()
            places = [directory / f"{name}-{number}" for number in range(starts - 1)]
            times = started(name, [router(checkout, place, environ) for place in places])
            one = start(name, router(checkout, directory / name, environ))
            ways.append(Way(name, one, one, starts=(*times, one.seconds)))
        for way in ways:
            ask(way.whole.url, WHOLE, headers)
        for way in ways:
            if way.name in checkouts:
                warm_streams(way.streams.url, headers)
        yield Ways(tuple(ways), headers)


@contextmanager
def gated_hub() -> Iterator[LoopbackHub]:
    """A Hub with both models, gated."""
    with LoopbackHub() as hub:
        hub.add_account("bench")
        for model in (WHOLE, STREAMING):
            hub.add_repo(model, _FILES, owner="bench", gated="auto")
        yield hub


def caller_headers(hub: LoopbackHub) -> Mapping[str, str]:
    """The headers of a new account that may use both models."""
    token = hub.add_account("caller")
    for model in (WHOLE, STREAMING):
        hub.accept(model, "caller")
    return {"X-HF-Token": token, "Authorization": f"Bearer {API_KEY}"}


def ask(url: str, model: str, headers: Mapping[str, str]) -> None:
    """Send one request. It starts the model's engine if none runs."""
    with _post(url, model, headers) as got:
        got.read()


def warm_streams(url: str, headers: Mapping[str, str]) -> None:
    """Start the engine that streams, and leave at the first event."""
    with _post(url, STREAMING, headers, stream=True) as got:
        got.read(16)


def _post(url: str, model: str, headers: Mapping[str, str], **fields: object) -> HTTPResponse:
    content = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    sent = {"Content-Type": "application/json", **headers}
    body = json.dumps(content, separators=(",", ":")).encode()
    request = urllib.request.Request(url + CHAT, body, sent)
    answer: HTTPResponse = urllib.request.urlopen(request)
    return answer
