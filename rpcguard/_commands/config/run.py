"""The course of `rpcguard config`."""

from __future__ import annotations

import inspect
import json
import time

import httpx

from rpcguard._config.settings import ENVIRONMENT, Setting, Settings, found_file
from rpcguard._httpx import Transport
from rpcguard._text import plain
from rpcguard.registries.base import entry_of


def check_file(path: str | None) -> None:
    """Say that a file is good; raise `ValueError` where it is not, or where none is named."""
    file = found_file(path, httpx.Limits)
    if file is None:
        raise ValueError(f"no file to check: name one, or set {ENVIRONMENT}")
    registry = file.read().options.get("registry")
    if registry is not None:
        entry_of(registry)
    print(f"{plain(file.path)}: good")


def show_settings(path: str | None, *, as_json: bool) -> None:
    """Print every option with its source."""
    file = found_file(path, httpx.Limits)
    options = inspect.signature(Transport).parameters.values()
    defaults = {one.name: one.default for one in options}
    settings = Settings(defaults, {}, file, None if file is None else file.read())
    found = settings.in_force(settings.document.incidents, time.time())
    if as_json:
        print(json.dumps([one.as_dict() for one in found], indent=2))
        return
    width = max(len(one.name) for one in found)
    for one in found:
        print(f"{plain(one.name):{width}}  {one.source:11}  {_shown(one)}")


def _shown(setting: Setting) -> str:
    value = setting.as_dict()["value"]
    return plain(value if isinstance(value, str) else json.dumps(value))
