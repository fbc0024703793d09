"""Searches everything in an image for secrets."""

from __future__ import annotations

import base64
import gzip
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Image:
    """An image as it is pushed: `buildah push NAME oci:DIRECTORY:latest`."""

    directory: Path

    @property
    def manifest(self) -> dict[str, Any]:
        index = json.loads((self.directory / "index.json").read_text())
        return self._json(index["manifests"][0]["digest"])

    @property
    def config(self) -> dict[str, Any]:
        """What `docker inspect` and `docker history` show."""
        return self._json(self.manifest["config"]["digest"])

    @property
    def environ(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["config"]["Env"])

    @property
    def command(self) -> list[str]:
        settings = self.config["config"]
        return [*settings.get("Entrypoint", []), *settings["Cmd"]]

    def layers(self) -> list[Path]:
        """Tar files, compressed or not, those of the base first."""
        return [self._blob(layer["digest"]) for layer in self.manifest["layers"]]

    def strays(self, expected: tuple[str, ...]) -> list[str]:
        """The files outside `expected` in the layers above the base.

        Directories and empty files do not count: buildah leaves its mount points.
        """
        found = []
        for layer in self.layers()[1:]:
            with tarfile.open(layer) as tar:
                found += [
                    member.name
                    for member in tar
                    if not member.name.startswith(expected)
                    and not member.isdir()
                    and (member.size or not member.isreg())
                ]
        return found

    def _json(self, digest: str) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self._blob(digest).read_text()))

    def _blob(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")


def leaks(image: Image, secrets: Mapping[str, str]) -> list[str]:
    """Each place where the image holds a secret, plain or in base64 or hex: a layer, or the
    image's configuration, history or annotations."""
    needles = {form: name for name, secret in secrets.items() for form in _forms(secret)}
    found = []
    about = json.dumps([image.manifest, image.config]).encode()
    found += [f"{name} in the configuration" for n, name in needles.items() if n in about]
    for number, layer in enumerate(image.layers()):
        with _unpacked(layer) as tar:
            seen = {needles[needle] for needle in _seen(tar, list(needles))}
        found += [f"{name} in layer {number}" for name in sorted(seen)]
    return found


def _seen(stream: BinaryIO, needles: list[bytes]) -> set[bytes]:
    overlap = max(map(len, needles)) - 1
    seen: set[bytes] = set()
    window = b""
    while chunk := stream.read(_CHUNK):
        window += chunk
        seen.update(needle for needle in needles if needle in window)
        window = window[-overlap:]
    return seen


def _forms(secret: str) -> set[bytes]:
    plain = secret.encode()
    # In base64, a text looks different at each of three offsets. Its first and last characters
    # depend on the neighboring bytes, so the search omits them.
    coded = {base64.b64encode(b"\0" * n + plain)[4 if n else 0 : -4] for n in range(3)}
    return {plain, plain.hex().encode(), *coded}


def _unpacked(layer: Path) -> BinaryIO:
    with layer.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(layer)) if packed else layer.open("rb")
