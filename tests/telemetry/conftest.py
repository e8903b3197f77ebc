"""Share the scripted nodes, the callers of every flavour and what records spans and metrics."""

from tests.support.telemetry import anyio_backend as anyio_backend
from tests.support.telemetry import calling as calling
from tests.support.telemetry import dead_port as dead_port
from tests.support.telemetry import flavour as flavour
from tests.support.telemetry import provider as provider
from tests.support.telemetry import recorded as recorded
