"""What every TLS context of rpcguard's making has, whatever the interpreter was built with."""

from __future__ import annotations

import ssl


def modern(context: ssl.SSLContext) -> ssl.SSLContext:
    """Refuse what is older than TLS 1.2 (RFC 8996), and give the context back.

    Python sets that floor itself unless it was built with the system's choice, as Debian's is.
    """
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context
