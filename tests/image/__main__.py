"""`make image-check`: build the image for real, run the worker in it, look for secrets.

A Debian with Python stands for SGLang's image, and the tests' fake engine for SGLang. What
is real: the Dockerfile, pip, the router, its downloads from a Hub, HTTP, the RunPod SDK.
Needs root.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fake_engine import PYTHON
from tests.image import machine
from tests.image.asking import chat, wait_until_ready
from tests.image.buildah import Buildah, Mounts
from tests.image.container import LISTENING, Container, Running
from tests.image.layers import Image, leaks
from tests.loopback_hub import LoopbackHub
from tests.loopback_platform import LoopbackPlatform

ROOT = Path(__file__).parents[2]
BASE, WORKER, LEAKY, USED = (
    f"localhost/{name}" for name in ("base", "worker", "leaky", "used")
)
DEFAULT, PRIVATE = "maker/default", "maker/private"
OURS = ("app", "opt/router", "models")  # what the Dockerfile may add files to

# What the scan must find: a secret that is removed again, but not from the layer before.
LEAKY_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
RUN --mount=type=secret,id=HF_TOKEN cp /run/secrets/HF_TOKEN /leak
RUN rm /leak
"""


def main() -> None:
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="image-check-"))
        )
        hub = stack.enter_context(LoopbackHub())
        check = Check(stack.enter_context(Buildah(directory / "storage")), hub, directory)
        check.build()
        check.look_for_secrets()
        check.serve()
        check.take_jobs()
        check.serve_as_nobody()


class Check:
    """The steps, in this order. Each raises where it finds what should not be."""

    def __init__(self, buildah: Buildah, hub: LoopbackHub, directory: Path) -> None:
        self._buildah, self._hub, self._directory = buildah, hub, directory
        for name in (DEFAULT, PRIVATE):
            hub.add_repo(name, _model(name), private=True)
        self._tokens = {
            who: hub.add_account("maker") for who in ("the build", "the worker", "a caller")
        }
        self._secret = directory / "secret"
        self._secret.write_text(self._tokens["the build"] + "\n")
        self._trust: Mounts = {machine.ca_bundle(directory, hub.ca_file): machine.CA_BUNDLE}
        self._built = 0  # requests to the Hub until then

    def build(self) -> None:
        """With a private model in it, which only the secret can fetch."""
        with _step("a Debian to stand for SGLang's image"):
            self._buildah.import_tree(machine.debian(self._directory), BASE)
        with _step("the image"):
            self._buildah.build(
                ROOT / "Dockerfile",
                ROOT,
                WORKER,
                arguments={
                    "BASE": BASE,
                    "MODEL_NAME": DEFAULT,
                    "HF_ENDPOINT": self._hub.endpoint,
                },
                secrets={"HF_TOKEN": self._secret},
                mounts={**self._trust, machine.pip_conf(self._directory): machine.PIP_CONF},
            )
        self._built = len(self._hub.requests)

    def look_for_secrets(self) -> None:
        """In the image; and in one that does leak, to know that the search finds it."""
        with _step("no secret in any layer, the history or the configuration"):
            image = self._image(WORKER)
            _same(leaks(image, self._tokens), [])
            _same(image.strays(OURS), [])
        with _step("the same search finds a secret that one layer hides in another"):
            dockerfile = self._directory / "Leaky"
            dockerfile.write_text(LEAKY_DOCKERFILE)
            self._buildah.build(
                dockerfile,
                self._directory,
                LEAKY,
                arguments={"BASE": WORKER},
                secrets={"HF_TOKEN": self._secret},
                mounts={},
            )
            _same(bool(leaks(self._image(LEAKY), self._tokens)), True)

    def serve(self) -> None:
        """As RunPod starts it, over HTTP; then look at what it left in the container."""
        container = Container(self._buildah, WORKER)
        with _step("it serves the model in the image, and one that a token opens"):
            with self._worker(container, HF_TOKEN=self._tokens["the worker"]) as worker:
                wait_until_ready(worker.url)
                _same(chat(worker.url, None), f"I am {DEFAULT}")
                _same(chat(worker.url, DEFAULT), f"I am {DEFAULT}")
                _same(chat(worker.url, PRIVATE), f"I am {PRIVATE}")
                _same(self._downloaded(), {PRIVATE})
            with self._worker(container) as worker:
                token = {"X-HF-Token": self._tokens["a caller"]}
                _same(chat(worker.url, PRIVATE), "model_not_found")
                _same(chat(worker.url, PRIVATE, token), f"I am {PRIVATE}")
        with _step("no secret in what it wrote"):
            container.commit(USED)
            _same(leaks(self._image(USED), self._tokens), [])

    def take_jobs(self) -> None:
        """As RunPod starts it behind a queue, with the real SDK."""
        container = Container(self._buildah, WORKER)
        asked: dict[str, object] = {"messages": []}
        with (
            _step("it takes jobs from a queue, streamed and not"),
            LoopbackPlatform() as platform,
            self._worker(
                container,
                until=r"router: ready",
                HF_TOKEN=self._tokens["the worker"],
                **platform.environment(),
            ),
        ):
            (answer,) = platform.submit(asked).wait(60).output
            _same(answer["choices"][0]["message"]["content"], f"I am {DEFAULT}")
            streamed = platform.submit({"model": PRIVATE, "stream": True, **asked})
            _same("".join(streamed.wait(60).output).endswith("data: [DONE]\n\n"), True)
            refused = platform.submit({"model": "maker/none", **asked}).wait(60)
            _same(json.loads(refused.error)["error"]["code"], "model_not_found")

    def serve_as_nobody(self) -> None:
        container, token = Container(self._buildah, WORKER), self._tokens["the worker"]
        with (
            _step("it serves without being root"),
            self._worker(container, user="65534", HOME="/tmp", HF_TOKEN=token) as worker,
        ):
            wait_until_ready(worker.url)
            _same(chat(worker.url, DEFAULT), f"I am {DEFAULT}")
            _same(chat(worker.url, PRIVATE), f"I am {PRIVATE}")

    def _downloaded(self) -> set[str]:
        """The models whose weights were asked for since the build."""
        weights = [r.path for r in self._hub.requests[self._built :] if "safetensors" in r.path]
        return {name for name in (DEFAULT, PRIVATE) if any(name in path for path in weights)}

    @contextmanager
    def _worker(
        self,
        container: Container,
        user: str = "root",
        until: str = LISTENING,
        **environ: str,
    ) -> Iterator[Running]:
        tests = "/check/tests"
        environ |= {
            "HF_ENDPOINT": self._hub.endpoint,
            "PORT": "0",
            "ENGINE_PYTHON": f"{tests}/{PYTHON.relative_to(ROOT / 'tests')}",
        }
        command = self._image(WORKER).command
        mounts: Mounts = {**self._trust, ROOT / "tests": tests}
        with container.worker(command, environ, mounts, user=user, until=until) as running:
            yield running

    def _image(self, name: str) -> Image:
        directory = self._directory / name.replace("/", "-")
        if not directory.exists():
            self._buildah("push", "--quiet", name, f"oci:{directory}:latest")
        return Image(directory)


def _model(name: str) -> dict[str, bytes]:
    return {
        "config.json": json.dumps({"architectures": ["LlamaForCausalLM"]}).encode(),
        "model.safetensors": name.encode() * 1000,
    }


@contextmanager
def _step(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)


def _same(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"wanted {wanted!r}, found {found!r}")


if __name__ == "__main__":
    main()
