"""All rules of Dubbo for one service: under which names they are stored, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpcguard.registries._rules.dubbo import CONDITIONS, TAGS
from rpcguard.registries._rules.dubbo_conditions import ConditionRule, routes_of_conditions
from rpcguard.registries._rules.dubbo_tags import routes_of_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpcguard._core.policies.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class DubboService:
    """A service as Dubbo's rules name it: an application, or an interface of one."""

    application: str | None
    """The application that provides it; None where that is not known."""

    interface: str | None = None
    """The interface; None for an application as a whole."""

    version: str = ""
    """The version of the interface, empty for none."""

    group: str = ""
    """The group of the interface, empty for none."""

    caller: str | None = None
    """The application that calls; None where that is not known."""

    @property
    def names(self) -> tuple[str, ...]:
        """Give the names of all rules that may be there."""
        names = [] if self.application is None else [f"{self.application}{TAGS}"]
        if self.interface is not None:
            names.append(f"{self.interface}:{self.version}:{self.group}{CONDITIONS}")
        names += [f"{one}{CONDITIONS}" for one in (self.application, self.caller) if one]
        return tuple(dict.fromkeys(names))

    def routes(self, texts: Mapping[str, str]) -> list[Route]:
        """Read the rules that are there, by name.

        Raises `ValueError` naming the rule, the field and the value, and `RegistryError` where
        PyYAML is missing.
        """
        tags: list[Route] = []
        conditions = []
        for name in self.names:
            text = texts.get(name, "")
            if not text.strip():
                continue
            if name.endswith(TAGS):
                tags = routes_of_tags(text, name=name)
                continue
            about = {"interface": self.interface, "caller": self.caller}
            conditions.append(ConditionRule(name=name, text=text, **about))
        return [*tags, *routes_of_conditions(conditions)]
