"""What a transport is made of, and where each value of that came from."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rpcguard._checks import require
from rpcguard._config.document import ConfigDocument, read
from rpcguard._core.policies.bundle import OPTIONS, policy_of
from rpcguard._core.policies.incidents import in_force
from rpcguard._core.policies.overrides import Overrides, by_host_name
from rpcguard._discovery.rule_sources import DocumentFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rpcguard._core.policies.incidents import Incident

ENVIRONMENT: Final = "RPCGUARD_CONFIG"
_REGISTRY: Final = "RPCGUARD_REGISTRY"

MOST_BYTES: Final = 1 << 20
"""How long a file may be: as one of rules, which may stand in it."""

Source = Literal["default", "file", "environment", "code", "switch"]

_SECRET: Final = re.compile(
    r"(://)(?:[^/@?]*:[^@?]*|[^/@?]+)(?=@)"
    r"|([?&][^=&]*(?:token|password|secret|key)[^=&]*=)[^&]+",
    re.IGNORECASE,
)
"""The user of a URL, with the password, and what its query has of the kind."""


@dataclass(frozen=True, slots=True, repr=False)
class Setting:
    """One value that a transport goes by, and where it came from."""

    name: str
    """The option, and its field: `retry.attempts`, `services.orders.retry.attempts`."""
    value: object
    """The value in force."""
    source: Source
    """Code goes before the environment, that before the file, that before the defaults; a switch
    goes before all of them."""

    def __repr__(self) -> str:
        shown = self.as_dict()["value"]
        return f"Setting(name={self.name!r}, value={shown!r}, source={self.source!r})"

    def as_dict(self) -> dict[str, object]:
        """Give it as plain values that `json.dumps` takes, without passwords."""
        value = _plain(self.value)
        if isinstance(value, str):  # a URL may stand in many an option
            value = _SECRET.sub(r"\1\2REDACTED", value)
        if self.name == "cert" and isinstance(value, list):
            value = [*value[:2], *("REDACTED" for _ in value[2:])]
        return {"name": self.name, "value": value, "source": self.source}


class ConfigFile:
    """A configuration file: read when a transport is made, and looked at again while it runs."""

    def __init__(self, path: str, limits: Callable[..., object]) -> None:
        # Not resolved: Kubernetes renews a mounted file by pointing a link elsewhere.
        self.path: str = os.path.abspath(path)
        self.document: DocumentFile = DocumentFile(Path(self.path).as_uri(), most=MOST_BYTES)
        self._limits = limits

    def read(self) -> ConfigDocument:
        """Read it now; raise `ValueError` that names the file and what is wrong with it."""
        try:
            found = self.document.read_now()
        except (OSError, ValueError) as error:
            raise ValueError(f"config {self.path}: cannot be read: {error}") from None
        return self.understood(found)

    def understood(self, found: object) -> ConfigDocument:
        """Read what stands in it; raise `ValueError` likewise."""
        # A clock that was put back, or that of another machine, must not make a switch last longer.
        written_at = min(self.document.written_at, time.time())
        return read(found, self.path, written_at=written_at, limits=self._limits)


class Settings:
    """The options of one transport: those that code gave, those of its file, and the defaults."""

    def __init__(
        self,
        defaults: Mapping[str, Any],
        code: Mapping[str, Any],
        file: ConfigFile | None = None,
        document: ConfigDocument | None = None,
    ) -> None:
        self.file: ConfigFile | None = file
        self.document: ConfigDocument = document or ConfigDocument()
        self._defaults = defaults
        self._code = {name: value for name, value in code.items() if value is not None}
        self._environment = os.environ.get(_REGISTRY)

    def options(self) -> dict[str, Any]:
        """Give the options that the constructor is to have."""
        of_file = dict(self.document.options)
        if self._environment:
            of_file.pop("registry", None)
        options = {**of_file, **self._code}
        if self.document.services:
            options["services"] = self._services()
        return options

    def _services(self) -> dict[str, Overrides]:
        services = dict(self.document.services)
        for name, overrides in by_host_name(self._code.get("services", {})).items():
            before = services.get(name, Overrides())
            services[name] = Overrides(**{**before.given(), **overrides.given()})
        return services

    def _in_code(self, service: str) -> Mapping[str, object]:
        own = by_host_name(self._code.get("services", {})).get(service)
        return {} if own is None else own.given()

    def in_force(self, incidents: tuple[Incident, ...], wall: float) -> list[Setting]:
        """Give every value with its source; `wall` is the time in epoch seconds."""
        rows = {row.name: row for row in self._rows()}
        for incident in in_force(incidents, wall):
            where = f"services.{incident.service}." if incident.service else ""
            for name, value in _switched(incident):
                rows[where + name] = Setting(where + name, value, "switch")
        return sorted(rows.values(), key=lambda row: row.name)

    def _rows(self) -> Iterator[Setting]:
        options, said = self.options(), self.document.said
        for name in self._defaults.keys() - {"services", "config"}:
            source: Source = "default"
            if name in self._code:
                source = "code"
            elif name == "registry" and self._environment:
                yield Setting(name, self._environment, "environment")
                continue
            elif name in said:
                source = "file"
            value = options.get(name, self._defaults[name])
            if name in OPTIONS:
                yield from _of_policy(name, value, source, said)
            else:
                yield Setting(name, value, source)
        for service, overrides in self._services().items():
            in_code = self._in_code(service)
            for name, value in overrides.given().items():
                where = f"services.{service}.{name}"
                source = "code" if name in in_code else "file"
                if name in OPTIONS:
                    yield from _of_policy(where, value, source, said)
                else:
                    yield Setting(where, value, source)


def _of_policy(
    where: str, value: object, source: Source, said: frozenset[str]
) -> Iterator[Setting]:
    name = where.rpartition(".")[2]
    policy, default = policy_of(name, value), policy_of(name, None)
    if not is_dataclass(policy):
        yield Setting(where, policy, source)
        return
    for one in fields(policy):
        found = getattr(policy, one.name)
        named = f"{where}.{one.name}" in said if source == "file" else False
        differs = default is None or found != getattr(default, one.name)
        yield Setting(f"{where}.{one.name}", found, source if named or differs else "default")


def _switched(incident: Incident) -> Iterator[tuple[str, object]]:
    if not incident.retry:
        yield "retry.attempts", 1
    if not incident.hedge:
        yield "hedge", False
    if incident.ejection == "shadow":
        yield "ejection.enforce", False
    if not incident.routes:
        yield "routing.rules", ()
    if incident.out:
        yield "out", incident.out


def found_file(given: Any, limits: Callable[..., object]) -> ConfigFile | None:
    """Give the file that `config` or the environment names; `False` is none, whatever that says."""
    wanted = "the path of a TOML or JSON file, or False for none"
    good = given is None or given is False or (isinstance(given, str | os.PathLike) and given != "")
    require("config", given, wanted, good)
    path = os.environ.get(ENVIRONMENT) if given is None else given
    return ConfigFile(os.fspath(path), limits) if path else None


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, type):
        return value.__name__
    return (
        {str(key): _plain(one) for key, one in value.items()}
        if isinstance(value, dict)
        else repr(value)
    )
