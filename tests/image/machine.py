"""What a build takes from this machine, and must not keep: packages, and who is trusted."""

from __future__ import annotations

import ast
import ssl
import subprocess
import sys
from pathlib import Path

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # in the container; Debian's and Ubuntu's
PIP_CONF = "/etc/pip.conf"

_REACH = ("index-url", "extra-index-url", "trusted-host", "proxy")


def debian(directory: Path) -> Path:
    """Make a Debian with Python, to stand for the GPU image; give it as a tar.

    From the mirror that this machine's apt uses.
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
    (root / PIP_CONF[1:]).touch()  # to be mounted over; a layer would keep a new file's name
    archive = directory / "debian.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return archive


def pip_conf(directory: Path) -> Path:
    """How pip reaches its packages here, as a file for a container."""
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
        # A directory of this machine is out of the container's reach.
        words = [w for w in ast.literal_eval(value).split() if not w.startswith("file:")]
        if name in _REACH and words:
            lines.append(f"{name} = {' '.join(words)}")
    path = directory / "pip.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def ca_bundle(directory: Path, further: Path) -> Path:
    """Whom this machine trusts, and one more."""
    own = ssl.get_default_verify_paths().cafile or CA_BUNDLE
    path = directory / "ca.pem"
    path.write_text(Path(own).read_text() + further.read_text())
    return path
