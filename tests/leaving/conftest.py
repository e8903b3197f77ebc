"""Share the scripted nodes and the callers of every flavour."""

from tests.calls.fixtures import *  # noqa: F403
