"""Share the scripted nodes and the callers of every flavour."""

from tests.calls.fixtures import (
    anyio_backend,
    authority,
    certified,
    flavour,
    make_caller,
    make_node,
    plain_context,
    trusting,
)
from tests.registries.conftest import new_server

__all__ = [
    "anyio_backend",
    "authority",
    "certified",
    "flavour",
    "make_caller",
    "make_node",
    "new_server",
    "plain_context",
    "trusting",
]
