"""What Grafana takes for a dashboard, by its own schemas: itself it cannot be had everywhere."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support.servers.built import BuiltServer

if TYPE_CHECKING:
    from pathlib import Path


class GrafanaSchemas(BuiltServer):
    """Decode dashboards strictly, with their panels and queries; run by hand, not started."""

    name = "grafana-schemas"
    source = "dashboard-app"
    build = ("go", "build", "-mod=mod", "-p=1", "-trimpath", "-ldflags=-s -w", "-o=decode", ".")
    product = "decode"

    @classmethod
    def faults(cls, dashboard: Path | str) -> list[str]:
        """Give what is wrong with a dashboard, a file or JSON, one line for each fault."""
        raw = dashboard if isinstance(dashboard, str) else dashboard.read_text()
        told = subprocess.run(
            [cls.file()], input=raw, text=True, capture_output=True, timeout=30, check=False
        )
        return told.stderr.splitlines()


servers = (GrafanaSchemas,)
