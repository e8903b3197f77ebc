"""YAML of others, bounded: plain values only, no aliases, no key twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rpcguard._core.routing.documents import MOST_BYTES
from rpcguard.errors import RegistryError
from rpcguard.registries._shared.documents import ODD_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping


def mapping_from_yaml(text: str, *, name: str) -> Mapping[str, object]:
    """Read a document that is a mapping; an empty one is an empty mapping.

    Raises `ValueError` naming the document for what is none, and for aliases, which could make a
    small document a huge one, and `RegistryError` where PyYAML is not installed.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"{name}: it has more than {MOST_BYTES} characters")
    yaml, loader = _loader()
    try:
        found = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, RecursionError, ValueError, *ODD_TAGS) as error:
        raise ValueError(f"{name}: it is no YAML that is read here: {_short(error)}") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"{name}: a mapping is wanted, not {type(found).__name__}")
    return found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _loader() -> tuple[Any, Any]:
    try:
        import yaml  # an extra, and seldom wanted
    except ModuleNotFoundError as missing:
        told = "rules of Dubbo need PyYAML: pip install 'rpcguard[rules]'"
        raise RegistryError(told) from missing

    class Strict(yaml.SafeLoader):
        """A loader that refuses aliases and keys that are given twice."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise ValueError("it has an alias")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = super().construct_mapping(node, deep=deep)
            if len(found) != len(node.value):
                raise ValueError("a key is given twice")
            return found

    return yaml, Strict
