"""`make image-check`: build the image, run the worker in it, and search both for secrets.

A Debian with Python replaces SGLang's image, and the fake engine replaces SGLang. The rest is
real: the Dockerfile, pip, the router, its downloads from a Hub, HTTP, and the RunPod SDK. Needs
root.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import router
from tests.fake_engine import PYTHON
from tests.image import machine
from tests.image.buildah import Buildah, Mounts
from tests.image.client import chat, wait_until_ready
from tests.image.container import LISTENING, Container, Running
from tests.image.layers import Image, leaks
from tests.loopback_hub import LoopbackHub
from tests.loopback_platform import LoopbackPlatform
from tests.servable import servable

ROOT = Path(__file__).parents[2]
BASE, WORKER, LEAKY, USED = (
    f"localhost/{name}" for name in ("base", "worker", "leaky", "used")
)
DEFAULT, PRIVATE = "maker/default", "maker/private"
ADDED = ("app", "opt/router", "models")  # the directories that the Dockerfile may write to

# The search must find this secret: a layer removes it, but the layer below still has it.
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
        check.look_at_labels()
        check.look_for_secrets()
        check.serve()
        check.take_jobs()
        check.serve_as_nobody()


class Check:
    """The steps, in this order. Each raises `AssertionError` if something is wrong."""

    def __init__(self, buildah: Buildah, hub: LoopbackHub, directory: Path) -> None:
        self._buildah, self._hub, self._directory = buildah, hub, directory
        for name in (DEFAULT, PRIVATE):
            hub.add_repo(name, _model(name), private=True)
        self._tokens = {
            holder: hub.add_account("maker")
            for holder in ("the build", "the worker", "a caller")
        }
        self._secret = directory / "secret"
        self._secret.write_text(self._tokens["the build"] + "\n")
        self._trust: Mounts = {machine.ca_bundle(directory, hub.ca_file): machine.CA_BUNDLE}
        self._built = 0  # number of requests to the Hub during the build

    def build(self) -> None:
        """Build the image with a private model, which can only be downloaded with the
        secret."""
        with _step("a Debian in place of SGLang's image"):
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

    def look_at_labels(self) -> None:
        with _step("its labels name the version"):
            labels = self._image(WORKER).config["config"]["Labels"]
            _expect(labels["org.opencontainers.image.version"], router.__version__)

    def look_for_secrets(self) -> None:
        """Search the image, then an image that leaks, to show that the search works."""
        with _step("no secret in any layer, in the history or in the configuration"):
            image = self._image(WORKER)
            _expect(leaks(image, self._tokens), [])
            _expect(image.strays(ADDED), [])
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
            _expect(bool(leaks(self._image(LEAKY), self._tokens)), True)

    def serve(self) -> None:
        """Serve HTTP as on RunPod, then search what the worker wrote into the container."""
        container = Container(self._buildah, WORKER)
        with _step("it serves the model in the image, and a private one with a token"):
            with self._worker(container, HF_TOKEN=self._tokens["the worker"]) as worker:
                wait_until_ready(worker.url)
                _expect(chat(worker.url, None), f"I am {DEFAULT}")
                _expect(chat(worker.url, DEFAULT), f"I am {DEFAULT}")
                _expect(chat(worker.url, PRIVATE), f"I am {PRIVATE}")
                _expect(self._downloaded(), {PRIVATE})
            with self._worker(container) as worker:
                token = {"X-HF-Token": self._tokens["a caller"]}
                _expect(chat(worker.url, PRIVATE), "model_not_found")
                _expect(chat(worker.url, PRIVATE, token), f"I am {PRIVATE}")
        with _step("no secret in what it wrote"):
            container.commit(USED)
            _expect(leaks(self._image(USED), self._tokens), [])

    def take_jobs(self) -> None:
        """Take jobs as on RunPod's queue, with the real SDK."""
        container = Container(self._buildah, WORKER)
        request: dict[str, object] = {"messages": []}
        with (
            _step("it takes jobs from a queue, streamed or not"),
            LoopbackPlatform() as platform,
            self._worker(
                container,
                until=r"router: ready",
                HF_TOKEN=self._tokens["the worker"],
                **platform.environment(),
            ),
        ):
            (answer,) = platform.submit(request).wait().output
            _expect(answer["choices"][0]["message"]["content"], f"I am {DEFAULT}")
            streamed = platform.submit({"model": PRIVATE, "stream": True, **request})
            _expect("".join(streamed.wait().output).endswith("data: [DONE]\n\n"), True)
            refused = platform.submit({"model": "maker/none", **request}).wait()
            _expect(json.loads(refused.error)["error"]["code"], "model_not_found")

    def serve_as_nobody(self) -> None:
        container, token = Container(self._buildah, WORKER), self._tokens["the worker"]
        with (
            _step("it serves without being root"),
            self._worker(container, user="65534", HOME="/tmp", HF_TOKEN=token) as worker,
        ):
            wait_until_ready(worker.url)
            _expect(chat(worker.url, DEFAULT), f"I am {DEFAULT}")
            _expect(chat(worker.url, PRIVATE), f"I am {PRIVATE}")

    def _downloaded(self) -> set[str]:
        """The models with weights that were downloaded since the build."""
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
        **servable(),
        "model.safetensors": name.encode() * 1000,
    }


@contextmanager
def _step(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


if __name__ == "__main__":
    main()
