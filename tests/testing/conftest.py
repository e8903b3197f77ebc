"""Share the scripted nodes and the callers of every flavour."""

from tests.support.fixtures import *  # noqa: F403
