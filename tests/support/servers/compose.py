"""What reads compose files: the library that `docker compose` is made of, with its own command."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.servers.base import Server, cache, go_program

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = "v2.16.2"


class Compose(Server):
    """Be `docker compose config` without docker; it is run by hand, not started."""

    name: ClassVar[str] = "compose"

    @classmethod
    def _binary(cls) -> Path:
        return cache(f"compose-{_VERSION}", "compose-spec")

    @classmethod
    def get(cls) -> None:
        go_program(f"github.com/compose-spec/compose-go/v2@{_VERSION}", "./cmd", cls._binary())

    @classmethod
    def available(cls) -> bool:
        return cls._binary().is_file()

    @classmethod
    def config(cls, file: Path) -> dict[str, Any]:
        """Give the project as compose takes it; raise `ValueError` with what is wrong with it."""
        told = subprocess.run(
            [cls._binary(), "--format", "json", file.name],
            cwd=file.parent,
            env={**os.environ, "COMPOSE_PROJECT_NAME": file.parent.name},
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise ValueError(told.stderr)
        project: dict[str, Any] = json.loads(told.stdout)
        return project


servers = (Compose,)
