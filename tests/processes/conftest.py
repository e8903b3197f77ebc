"""Share the scripted nodes."""

from tests.calls.fixtures import make_node

__all__ = ["make_node"]
