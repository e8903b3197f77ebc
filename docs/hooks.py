"""Put pages into the navigation that come and go with what they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_OPTIONAL = {"In production": ("observability.md", "performance.md")}


def on_config(config: Any) -> Any:
    """List each page of `docs/registries`, and the optional pages that are there."""
    docs = Path(config["docs_dir"])
    for entry in config["nav"]:
        (title, pages), *_ = entry.items() if isinstance(entry, dict) else [("", [])]
        if title == "Registries":
            pages += sorted(f"registries/{page.name}" for page in docs.glob("registries/*.md"))
        pages += [page for page in _OPTIONAL.get(title, ()) if (docs / page).exists()]
    return config
