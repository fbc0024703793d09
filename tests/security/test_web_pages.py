"""Web pages in a real Chromium on the worker's machine: pages of other sites, pages whose name
leads here (DNS rebinding), the worker's own page, and pages that the operator lists. No caller
has a token or a key, and `HF_TOKEN` serves private models, as it does on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.caller import CHAT, chat, credentials
from tests.e2e.harness import Harness
from tests.security.browser import PROGRAM, Page, browsing, other_site
from tests.worker import Worker

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")

HIDDEN, MISSING = "acme/hidden", "acme/missing"


@pytest.fixture(scope="module")
def token(harness: Harness) -> str:
    harness.model(HIDDEN, private=True)
    return harness.hub.add_account("acme")


@pytest.fixture(scope="module")
def worker(harness: Harness, token: str) -> Iterator[Worker]:
    with harness.worker(HF_TOKEN=token) as worker:
        yield worker


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "profile") as page:
        yield page


@pytest.fixture
async def site() -> AsyncIterator[int]:
    async with other_site() as port:
        yield port


def post(url: str, model: str = HIDDEN, **fields: object) -> str:
    """A page's chat request, as OpenAI's client for JavaScript sends it, and what the page
    learns."""
    headers = {"Content-Type": "application/json", "X-Stainless-Lang": "js"}
    asked = {"method": "POST", "headers": headers | credentials(None, "none")}
    asked["body"] = json.dumps(chat(model, **fields))
    return f"""
        try {{
            const answer = await fetch("{url}{CHAT}", {json.dumps(asked)});
            return [answer.status, await answer.text(), answer.headers.get("X-Request-Id")];
        }} catch (error) {{ return [String(error)]; }}
    """


def element(tag: str, attribute: str) -> str:
    """A script that says whether an element was loaded."""
    return f"""
        return await new Promise(done => {{
            const made = document.createElement("{tag}");
            if ("{tag}" == "link") made.rel = "stylesheet";
            made.onload = () => done("loaded");
            made.onerror = () => done("failed");
            made.{attribute} = url;
            document.body.append(made);
        }});
    """


def within(probe: str, seconds: int = 60) -> str:
    """The result of a probe, or `silence` if its event does not come."""
    silence = f"new Promise(done => setTimeout(done, {seconds * 1000}, 'silence'))"
    return f"return await Promise.race([(async () => {{ {probe} }})(), {silence}]);"


# Everything that a page can do with a URL, and learn from it.
PROBES = {
    "fetch": "return await fetch(url).then(answer => answer.status, () => 'failed');",
    "fetch without CORS": (
        "return await fetch(url, {mode: 'no-cors'}).then(a => a.type, () => 'failed');"
    ),
    "head": "return await fetch(url, {method: 'HEAD'}).then(a => a.status, () => 'failed');",
    "image": element("img", "src"),
    "script": element("script", "src"),
    "style sheet": element("link", "href"),
    "object": element("object", "data"),
    "frame": element("iframe", "src"),
    "video": element("video", "src").replace("onload", "onloadeddata"),
    "event stream": """
        return await new Promise(done => {
            const events = new EventSource(url);
            events.onopen = () => done("open");
            events.onerror = () => done("failed");
        });
    """,
    "web socket": """
        return await new Promise(done => {
            const socket = new WebSocket(url.replace("http", "ws"));
            socket.onopen = () => done("open");
            socket.onerror = () => done("failed");
        });
    """,
    "sandboxed frame": """
        return await new Promise(done => {
            addEventListener("message", event => done(event.data));
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.srcdoc = `<script>fetch("${url}").then(a => a.status, () => "failed")
                .then(told => parent.postMessage(told, "*"))</script>`;
            document.body.append(frame);
        });
    """,
}


@pytest.mark.parametrize("host", ["evil.example", "localhost"])
async def test_a_page_of_another_origin_learns_nothing_of_a_private_model(
    harness: Harness, worker: Worker, page: Page, site: int, host: str
) -> None:
    before = len(harness.hub.requests)
    learned: dict[str, list[object]] = {HIDDEN: [], MISSING: []}
    for model, about in learned.items():
        url = json.dumps(f"{worker.url}/v1/models/{model}")
        for probe in PROBES.values():
            await page.open(f"http://{host}:{site}/")
            about.append(await page.run(f"const url = {url}; {within(probe)}"))
    assert learned[HIDDEN] == learned[MISSING]
    assert len(harness.hub.requests) == before, "the worker looked for the model"


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
async def test_a_page_of_another_origin_starts_nothing(
    harness: Harness, worker: Worker, page: Page, site: int, kind: str
) -> None:
    await page.open(f"http://evil.example:{site}/")
    before = len(harness.hub.requests)
    body, blob = json.dumps(chat(HIDDEN)), json.dumps({"type": kind})
    told = await page.run(f"""
        const body = new Blob([{json.dumps(body)}], {blob});
        navigator.sendBeacon("{worker.url}{CHAT}", body);
        return await fetch("{worker.url}{CHAT}", {{method: "POST", mode: "no-cors", body}})
            .then(answer => answer.type, () => "failed");
    """)
    assert told == "failed"
    assert len(harness.hub.requests) == before


async def test_a_name_that_was_rebound_gets_no_private_model(
    harness: Harness, worker: Worker, page: Page
) -> None:
    """The page's origin is the worker itself, so it could read every answer."""
    port = urlsplit(worker.url).port
    await page.open(f"http://evil.example:{port}/health")
    before = len(harness.hub.requests)
    status, told, _ = await page.run(post(""))
    assert (status, json.loads(told)["error"]["code"]) == (421, "host_not_allowed")
    assert "ALLOWED_HOSTS" in told
    assert len(harness.hub.requests) == before


async def test_the_workers_own_page_may_call(worker: Worker, page: Page) -> None:
    await page.open(f"{worker.url}/health")
    status, told, _ = await page.run(post(""))
    assert (status, f"I am {HIDDEN}" in told) == (200, True)


async def test_a_listed_page_may_call_and_reads_answers_streams_and_errors(
    harness: Harness, token: str, page: Page, site: int
) -> None:
    origin = f"http://app.example:{site}"
    with harness.worker(HF_TOKEN=token, CORS_ORIGINS=origin) as worker:
        await page.open(origin)
        status, told, request_id = await page.run(post(worker.url))
        assert (status, f"I am {HIDDEN}" in told) == (200, True)
        assert request_id
        status, told, _ = await page.run(post(worker.url, stream=True))
        assert (status, "data: [DONE]" in told) == (200, True)
        status, told, request_id = await page.run(post(worker.url, MISSING))
        assert (status, json.loads(told)["error"]["code"]) == (404, "model_not_found")
        assert request_id
        await page.open(f"http://evil.example:{site}/")
        assert await page.run(post(worker.url)) == ["TypeError: Failed to fetch"]
