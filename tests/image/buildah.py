"""Images without a daemon: buildah, with temporary storage."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

Mounts = Mapping[Path, str]  # path on this machine -> path in the container, read-only


class Buildah:
    """`with Buildah(directory) as buildah`: all its files are below `directory`.

    Isolation is a chroot, and layers are plain directories. That needs root, but neither user
    namespaces nor the kernel's overlay file system. Containers use this machine's network.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.command = (
            "buildah",
            *("--root", str(directory / "root"), "--runroot", str(directory / "run")),
            *("--storage-driver", "vfs"),
        )
        self.environ = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self("rm", "--all")
        shutil.rmtree(self._directory, ignore_errors=True)

    def __call__(self, *arguments: str) -> str:
        """Run one command and return its output. Raises `CalledProcessError`."""
        run = subprocess.run(
            [*self.command, *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return run.stdout.strip()

    def import_tree(self, archive: Path, name: str) -> None:
        """Make an image with one layer from a tar file of a root file system."""
        container = self("from", "scratch")
        self("add", "--quiet", container, str(archive), "/")
        self("commit", "--quiet", "--rm", container, name)

    def build(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        mounts: Mounts,
    ) -> None:
        """Build like `docker build`, with one layer per instruction."""
        self(
            *("build", "--quiet", "--layers", "--pull-never", "--file", str(dockerfile)),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *(f"--secret=id={key},src={path}" for key, path in secrets.items()),
            *volumes(mounts),
            *("--tag", name, str(context)),
        )


def volumes(mounts: Mounts) -> Iterable[str]:
    return (f"--volume={path}:{target}:ro" for path, target in mounts.items())
