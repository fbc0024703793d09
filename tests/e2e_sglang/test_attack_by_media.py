"""Media from other hosts and files. The engine would fetch and read all of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from engines.command import CPU_MODULES
from tests.e2e_sglang.harness import PLUM, Json
from tests.e2e_sglang.media_host import MediaHost, media_host, picture
from tests.e2e_sglang.target import Target
from tests.worker import ROOT

pytestmark = pytest.mark.sglang

CHAT = "/v1/chat/completions"
PLACES = [
    "chat",
    "as base64",
    "bare",
    "messages",
    "tool",
    "responses",
    "embeddings",
    "native",
    "many",
]
LOOPBACK = [
    *("http://127.0.0.1:{}/", "http://localhost:{}/", "http://127.1:{}/"),
    *("http://2130706433:{}/", "http://0x7f000001:{}/", "http://[::ffff:127.0.0.1]:{}/"),
    *("https://127.0.0.1:{}/", "https://localhost:{}/"),
    *("http://example.org@127.0.0.1:{}/", "http://127.0.0.1:{}\\@example.org/"),
    *("http://127.0.0.1:{}#@example.org/", "http://127.0.0.1:{}/a.png?data:image/png;base64,"),
]
LOCAL = ["file://{}", "file://localhost{}", "{}"]


def placed(place: str, url: str) -> tuple[str, Json]:
    """A request with the picture at `url`, in one of the places that SGLang reads."""
    anthropic = {"type": "image", "source": {"type": "url", "url": url}}
    tool = {"type": "tool_result", "tool_use_id": "x", "content": [anthropic]}
    image_url = {"type": "image_url", "image_url": {"url": url}}
    as_base64 = {"type": "image_url", "image_url": {"type": "base64", "url": url}}
    input_image = {"type": "input_image", "image_url": url}
    native = {"text": "[IMG]", "sampling_params": {"max_new_tokens": 8}}
    return {
        "chat": (CHAT, _saying(image_url)),
        "as base64": (CHAT, _saying(as_base64)),
        "bare": ("/v1/responses", {"input": [{"role": "user", "content": [image_url]}]}),
        "messages": ("/v1/messages", _saying(anthropic) | {"max_tokens": 8}),
        "tool": ("/v1/messages", _saying(tool) | {"max_tokens": 8}),
        "responses": ("/v1/responses", {"input": [{"role": "user", "content": [input_image]}]}),
        "embeddings": ("/v1/embeddings", {"input": [{"text": "a", "image": url}]}),
        "native": ("/generate", native | {"image_data": url}),
        "many": ("/generate", native | {"image_data": [url]}),
    }[place]


def _saying(part: Json) -> Json:
    return {"messages": [{"role": "user", "content": [part]}]}


@pytest.fixture
def model() -> str:
    return PLUM


@pytest.fixture
async def inside() -> AsyncIterator[MediaHost]:
    async with media_host() as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "private.png"
    path.write_bytes(picture())
    return path


@pytest.fixture
def base64_path() -> Iterator[Path]:
    """A file whose absolute path is valid base64, like the beginning of a JPEG."""
    path = Path("/tmp") / secrets.token_hex(5).ljust(11, "0")
    path.write_bytes(picture())
    yield path
    path.unlink()


@pytest.mark.parametrize("spelt", LOOPBACK)
async def test_this_machine_is_not_asked_however_it_is_spelt(
    spelt: str, inside: MediaHost, worker: Target, engine: Target
) -> None:
    path, body = placed("chat", spelt.format(inside.port))
    assert "data:" in (await worker.post(path, body)).refusal
    assert inside.visits == []
    await engine.post(path, body)
    assert inside.visits != []


@pytest.mark.parametrize("place", PLACES)
async def test_it_is_not_asked_wherever_the_media_stand(
    place: str, inside: MediaHost, worker: Target, engine: Target
) -> None:
    path, body = placed(place, inside.url)
    assert "data:" in (await worker.post(path, body)).refusal
    assert inside.visits == []
    await engine.post(path, body)
    assert inside.visits == ["GET /picture HTTP/1.1\r\n"]


@pytest.mark.parametrize("spelt", LOCAL)
@pytest.mark.parametrize("place", ["chat", "messages"])
async def test_a_file_of_this_machine_is_not_read(
    place: str, spelt: str, file: Path, worker: Target, engine: Target
) -> None:
    path, body = placed(place, spelt.format(file))
    assert "data:" in (await worker.post(path, body)).refusal
    assert (await engine.post(path, body)).status == 200


async def test_a_path_that_looks_like_base64_is_no_path(
    base64_path: Path, worker: Target, engine: Target
) -> None:
    assert base64.b64decode(str(base64_path), validate=True)
    path, body = placed("native", str(base64_path))
    assert (await engine.post(path, body)).status == 200
    assert (await worker.post(path, body)).status == 400


async def test_a_listed_host_does_not_lead_to_one_that_is_not(
    inside: MediaHost, engine: Target
) -> None:
    """The worker checks where a URL starts; only the engine sees where it leads."""

    async def led(host: str) -> int:
        inside.visits.clear()
        target = quote(f"http://{host}:{inside.port}/picture", safe="")
        url = f"http://127.0.0.1:{inside.port}/to/{target}"
        return (await engine.post(*placed("chat", url))).status

    assert (await led("localhost"), len(inside.visits)) == (200, 2)  # also listed
    assert (await led("127.0.1"), len(inside.visits)) == (400, 1)


async def test_nor_do_films_and_sound_come_from_elsewhere(
    inside: MediaHost, worker: Target, tmp_path: Path
) -> None:
    """No model that takes them starts on a CPU, so this calls SGLang's loaders directly. They
    need a decoder, which is missing here, as soon as they have data to decode."""
    (tmp_path / "there").touch()
    urls = [inside.url, f"file://{tmp_path}/there", "there", "absent"]
    asked = [(kind, url) for kind in ("audio", "video") for url in urls]
    for kind, url in asked:
        part = {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
        assert "data:" in (await worker.post(CHAT, _saying(part))).refusal
    assert inside.visits == []
    read = ["ModuleNotFoundError"] * 3
    assert await loading(asked, tmp_path) == [*read, "FileNotFoundError", *read, "Error"]
    assert len(inside.visits) == 2


async def test_a_picture_that_comes_along_is_looked_at(worker: Target) -> None:
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    with_picture = (await worker.post(*placed("chat", url))).answer
    without = (await worker.post(CHAT, _saying({"type": "text", "text": ""}))).answer
    assert with_picture["choices"][0]["message"]["content"] == "I am plum."
    assert with_picture["usage"]["prompt_tokens"] > without["usage"]["prompt_tokens"]


async def loading(asked: list[tuple[str, str]], directory: Path) -> list[str]:
    """SGLang's errors when it loads each of these, in this directory."""
    process = await asyncio.create_subprocess_exec(
        str(ROOT / ".venv-sglang" / "bin" / "python"),
        *("-c", _LOADING),
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": str(CPU_MODULES),
            "SGLANG_USE_CPU_ENGINE": "1",
            "REQUEST_TIMEOUT": "60",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(json.dumps(asked).encode())
    return printed.decode().split()


_LOADING = """
import json, sys
from sglang.srt.utils import load_audio, load_video

load = {"audio": load_audio, "video": load_video}
for kind, url in json.load(sys.stdin):
    try:
        load[kind](url)
    except Exception as error:
        print(type(error).__name__)
"""
