"""List pages that come and go with what they describe; name the version and the language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpcguard._version import __version__

_OPTIONAL = {"In production": ("observability.md", "performance.md")}


def on_config(config: Any) -> Any:
    """List each page of `docs/registries`, and the optional pages that are there."""
    config["copyright"] = f"rpcguard {__version__}, Apache License 2.0"
    docs = Path(config["docs_dir"])
    for entry in config["nav"]:
        (title, pages), *_ = entry.items() if isinstance(entry, dict) else [("", [])]
        if title == "Registries":
            pages += sorted(f"registries/{page.name}" for page in docs.glob("registries/*.md"))
        if title in _OPTIONAL:
            pages += [page for page in _OPTIONAL[title] if (docs / page).exists()]
    return config


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Say that a page is in Chinese: a browser chooses the shapes of its letters by that."""
    if not page.file.src_uri.startswith("zh/"):
        return output
    return output.replace('<html lang="en"', '<html lang="zh-Hans"', 1)
