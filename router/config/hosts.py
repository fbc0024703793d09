"""Hosts and origins in HTTP headers, and which hosts are this machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

# What browsers send: a name or an address in its usual form, without user information,
# percent signs or zones (RFC 9110, 7.2). `127.1` and `0x7f000001` count as (unknown) names.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::([0-9]{1,5})?)?")
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://([^/?#]{1,260})")
_USUAL = {"localhost", "127.0.0.1", "::1"}  # compared first, because parsing costs microseconds
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and its port; None: the scheme's default port."""

    host: str  # in lower case, without brackets or a trailing dot
    port: int | None

    @classmethod
    def read(cls, text: str) -> Authority | None:
        """Parse a `Host` header; None if it is malformed."""
        match = _AUTHORITY.fullmatch(text)
        if match is None:
            return None
        host, port = match[1].lower().removesuffix("."), match[2]
        if host.startswith("["):
            try:
                host = str(ipaddress.IPv6Address(host[1:-1]))
            except ValueError:
                return None
        if not host or (port and int(port) > 65535):
            return None
        return cls(host, int(port) if port else None)

    def of(self, scheme: str) -> Authority:
        """The same authority, with the scheme's default port if it has none."""
        return Authority(self.host, self.port or _PORTS.get(scheme))


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a web page, as a browser sends it."""

    scheme: str
    authority: Authority

    @classmethod
    def read(cls, text: str) -> Origin | None:
        """Parse an `Origin` header; None if it is malformed, or `null` (a hidden origin)."""
        match = _ORIGIN.fullmatch(text)
        authority = Authority.read(match[2]) if match is not None else None
        if match is None or authority is None:
            return None
        scheme = match[1].lower()
        return cls(scheme, authority.of(scheme))


def is_loopback(host: str) -> bool:
    """Whether `host`, from an `Authority`, always means the local machine."""
    if host in _USUAL or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
