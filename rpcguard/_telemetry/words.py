"""What spans say of errors and URLs, without the secrets in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

_SECRETS = re.compile(r"(?<=[?&])(AWSAccessKeyId|Signature|sig|X-Goog-Signature)=[^&#]*")


def error_name(error: BaseException) -> str:
    """Give the name of an error as the conventions want it, with its module."""
    kind = type(error)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{prefix}{kind.__qualname__}"


def described(error: Exception | None) -> str | None:
    """Give the words of an error for a span; None where they may hold a secret."""
    # A status code says enough, and a protocol error may quote a header with a secret in it.
    if error is None or "ProtocolError" in type(error).__name__:
        return None
    return str(error)


def redacted(url: httpx.URL) -> str:
    """Write a URL without its credentials and signatures."""
    if url.userinfo:
        url = url.copy_with(username="REDACTED", password="REDACTED")
    full = str(url)
    return _SECRETS.sub(r"\1=REDACTED", full) if "?" in full else full
