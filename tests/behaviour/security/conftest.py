"""Share the scripted nodes, the callers of every flavour, and registries that answer as told."""

from tests.registries.conftest import new_server as new_server
from tests.support.fixtures import *  # noqa: F403
