"""Explains to the operator why the Hub can't be reached."""

from __future__ import annotations

import httpx2


def reason_of(error: Exception, timeout: float) -> str:
    """Name the causes that an operator can fix. The result contains no token."""
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return f"no answer within {timeout:g} s"
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted here (see SSL_CERT_FILE)"
    if isinstance(error, httpx2.ProxyError):
        return "the proxy refuses (see HTTPS_PROXY)"
    if "Name or service not known" in text or "name resolution" in text:
        return "its name can't be resolved"
    return f"no connection ({type(error).__name__})"
