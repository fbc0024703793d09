"""nginx, as an upstream of canned answers and as a proxy (Debian: `nginx-light`)."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

_COMMON = """\
daemon off;
worker_processes 1;
error_log stderr crit;
pid {directory}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  default_type application/json;
{more}
}}
"""
_UPSTREAM = """\
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /model_info {{ {lock} return 200 '{info}'; }}
    location / {{ {lock} return 200 '{answer}'; }}
  }}"""
_PROXY = """\
  upstream behind {{
    server {upstream};
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 3600s;
    }}
  }}"""


def find() -> str | None:
    """The program's path; None if it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def canned(directory: Path, port: int, key: str, info: str, answer: str) -> list[str]:
    """The command for a server that answers `info` to /model_info, and `answer` to all else.

    `key`: requests must send it; empty: none needed.
    """
    lock = f'if ($http_authorization != "Bearer {key}") {{ return 403; }}' if key else ""
    more = _UPSTREAM.format(port=port, lock=lock, info=info, answer=answer)
    return _command(directory, more)


def proxy(directory: Path, port: int, upstream: str) -> list[str]:
    """The command for a proxy that passes everything to `upstream` (host and port)."""
    return _command(directory, _PROXY.format(port=port, upstream=upstream))


def serve_on(listener: socket.socket, command: list[str]) -> None:
    """Become nginx, with a socket that already listens. Does not return."""
    listener.set_inheritable(True)
    # nginx passes its listening sockets to its successor like this during an upgrade.
    environ = {"PATH": os.environ["PATH"], "NGINX": f"{listener.fileno()};"}
    os.execve(command[0], command, environ)


def _command(directory: Path, more: str) -> list[str]:
    program = find()
    if program is None:
        raise FileNotFoundError("nginx")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "nginx.conf"
    # As root, nginx would give its folders to another user; an engine lacks that capability.
    user = "" if os.geteuid() else "user root root;\n"
    file.write_text(user + _COMMON.format(directory=directory, more=more))
    return [program, "-e", "stderr", "-p", str(directory), "-c", str(file)]
