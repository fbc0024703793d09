"""This machine's package sources and trusted CAs. A build uses them, but must not keep them."""

from __future__ import annotations

import ast
import ssl
import subprocess
import sys
from pathlib import Path

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # path in the container, for Debian and Ubuntu
PIP_CONF = "/etc/pip.conf"

_REACH = ("index-url", "extra-index-url", "trusted-host", "proxy")


def debian(directory: Path) -> Path:
    """Make a Debian with Python, to replace the GPU image. Returns a tar file.

    It comes from the mirror that this machine's apt uses.
    """
    form = "$(REPO_URI) $(CODENAME) $(LABEL) $(COMPONENT) $(IDENTIFIER)"
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", form],
        capture_output=True,
        text=True,
        check=True,
    )
    mirror, codename = next(
        (words[0], words[1])
        for words in map(str.split, targets.stdout.splitlines())
        if words[2:] == ["Debian", "main", "Packages"] and "-" not in words[1]
    )
    root = directory / "debian"
    packages = "python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", codename, root, mirror],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (root / PIP_CONF[1:]).touch()  # a mount point, or buildah would leave one in a layer
    archive = directory / "debian.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return archive


def pip_conf(directory: Path) -> Path:
    """A configuration that lets pip in a container reach packages as it does here."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ["[global]", f"cert = {CA_BUNDLE}"]
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        # The container can't see this machine's directories.
        words = [w for w in ast.literal_eval(value).split() if not w.startswith("file:")]
        if name in _REACH and words:
            lines.append(f"{name} = {' '.join(words)}")
    path = directory / "pip.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def ca_bundle(directory: Path, additional: Path) -> Path:
    """The certificate authorities that this machine trusts, and one more."""
    own = ssl.get_default_verify_paths().cafile or CA_BUNDLE
    path = directory / "ca.pem"
    path.write_text(Path(own).read_text() + additional.read_text())
    return path
