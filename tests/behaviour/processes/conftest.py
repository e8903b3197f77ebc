"""Share the scripted nodes."""

from tests.support.fixtures import make_node

__all__ = ["make_node"]
