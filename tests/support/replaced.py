"""A module of rpcguard whose source is another one than what is on disk."""

from __future__ import annotations

import importlib.util
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path


class Replaced(MetaPathFinder, SourceFileLoader):
    """A finder that goes into `sys.meta_path`, before the module is imported, and loads it."""

    def __init__(self, module: str, path: Path, source: bytes) -> None:
        super().__init__(module, str(path))
        self._source = source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self._source, self.path)
