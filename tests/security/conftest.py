"""Share the scripted nodes, the callers of every flavour, and registries that answer as told."""

from tests.calls.fixtures import *  # noqa: F403
from tests.registries.conftest import new_server as new_server
