"""How a node is known to its callers: by the address on which it accepts them."""

from __future__ import annotations

import re
from ipaddress import ip_address

from rpcguard._text import host_and_port


def known_as(host: object, port: object) -> str | None:
    """Give `host:port` of the address that a request was accepted on.

    None where it is none that a caller could know: the path of a unix socket, the name that a
    server gives itself, or the address that stands for all of a machine.
    """
    try:
        ip = ip_address(str(host).partition("%")[0])
        number = int(str(port))
    except ValueError:
        return None
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_unspecified or not number:
        return None
    return host_and_port(str(ip), number)


def check_node(node: str | None) -> None:
    """Raise `ValueError` for a name that cannot be told in a header beside other words."""
    if node is not None and not re.fullmatch(r"[!-+\--:<-~]{1,200}", node):
        raise ValueError(
            "node must be the id or host:port that callers know it by: 1 to 200 letters of ASCII "
            f"without spaces, commas and semicolons, not {node!r}"
        )
