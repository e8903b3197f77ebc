"""Give the package the addresses of its repository, which only where it is built is known."""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryUrls(MetadataHookInterface):
    """The `[project.urls]` of a build: none where `RPCGUARD_REPOSITORY` does not name a page."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set them; a fork that is released by the same workflow leads to itself."""
        repository = os.environ.get("RPCGUARD_REPOSITORY", "").rstrip("/")
        pages = {
            "Repository": repository,
            "Documentation": f"{repository}/blob/main/docs/index.md",
            "Changelog": f"{repository}/blob/main/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
        metadata["urls"] = pages if repository else {}
