"""What a registry is, and how one is found by the scheme of its URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, cast, runtime_checkable

from rpcguard._checks import is_registry
from rpcguard.errors import InvalidRegistryURL
from rpcguard.registries._shared.methods import has, misshapen
from rpcguard.registries._shared.nodes import nodes_from_json as nodes_from_json
from rpcguard.registries._shared.urls import RIGHT, SCHEME

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Sequence
    from importlib.metadata import EntryPoint

    from rpcguard._core.nodes.node import Node
    from rpcguard._core.nodes.snapshot import Snapshot
    from rpcguard._core.policies.routing import Route

GROUP = "rpcguard.registries"


@runtime_checkable
class Registry(Protocol):
    """What gives the current list of a service when asked.

    A registry lives in the discovery thread: every method runs on its event loop, and a registry
    object may be asked for several services at once. An object that also has
    `async def aclose(self)` is closed with the transport that was given its URL. Each further
    method, such as `watch`, is used where its class has it; what `__getattr__` hands on is not.
    """

    async def fetch(self, service: str) -> Snapshot:
        """Return the list of `service` now; raise `RegistryError` where there is no answer."""
        ...


@runtime_checkable
class WatchableRegistry(Registry, Protocol):
    """A registry that pushes a new list whenever it changes."""

    def watch(self, service: str) -> AsyncIterator[Snapshot]:
        """Yield the whole list first and after each change; end or raise when the stream breaks."""
        ...


@runtime_checkable
class PushingRegistry(Registry, Protocol):
    """A registry that is polled, and pushes lists beside that where it can."""

    def pushed(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yield each list that is pushed; end or raise when nothing is, to be asked again."""
        ...


@runtime_checkable
class CheckingRegistry(Registry, Protocol):
    """A registry that knows more of one node than its list, which may be out of a cache.

    Asked once for each ejection of a node, about a few nodes at a time.
    """

    async def check(self, service: str, node: Node) -> Node | None:
        """Return what is known now of a listed node, with the same id; None if it is gone.

        It is believed at once, and for a minute against every list that says of this node what
        the list said before. Raise `RegistryError` where there is no sure answer: None is one.
        """
        ...


@runtime_checkable
class RuledRegistry(Registry, Protocol):
    """A registry that has rules of routing too, of its own kind."""

    async def routes(self, service: str) -> Sequence[Route]:
        """Return the rules for calls to a service now; none is an answer too.

        Asked every few seconds. Raise `RegistryError` where there is no answer, and `ValueError`
        that names the rule, the field and the value where one cannot be a route: then the last
        rules stay.
        """
        ...


@runtime_checkable
class RuleWatchableRegistry(RuledRegistry, Protocol):
    """A registry that pushes its rules of routing as well."""

    def watch_routes(self, service: str) -> AsyncGenerator[Sequence[Route], None]:
        """Yield the rules first and after each change; end or raise when the stream breaks."""
        ...


@runtime_checkable
class ListingRegistry(Registry, Protocol):
    """A registry that can tell which services it has."""

    async def services(self) -> Collection[str]:
        """Return the names, as `fetch` takes them; raise `RegistryError` without an answer."""
        ...


def watches(registry: Registry) -> TypeGuard[WatchableRegistry]:
    """Tell whether a registry pushes its lists."""
    return has(registry, "watch")


def pushes(registry: Registry) -> TypeGuard[PushingRegistry]:
    """Tell whether a registry pushes lists beside being polled."""
    return has(registry, "pushed")


def checks(registry: Registry) -> TypeGuard[CheckingRegistry]:
    """Tell whether a registry can be asked about one node."""
    return has(registry, "check")


def has_rules(registry: Registry) -> TypeGuard[RuledRegistry]:
    """Tell whether a registry has rules of its own kind."""
    return has(registry, "routes")


def pushes_rules(registry: Registry) -> TypeGuard[RuleWatchableRegistry]:
    """Tell whether a registry pushes its rules."""
    return has(registry, "routes", "watch_routes")


def lists_services(registry: Registry) -> TypeGuard[ListingRegistry]:
    """Tell whether a registry can name its services."""
    return has(registry, "services")


def registry_from_url(url: str) -> Registry:
    """Make the registry that a URL names.

    The scheme is looked up in the entry-point group `rpcguard.registries`, where an entry is a
    callable that takes the URL; those of rpcguard itself go first. Raises `InvalidRegistryURL` for
    a scheme that nobody offers and for whatever the registry cannot understand. Nothing is
    contacted yet.
    """
    entry = entry_of(url)
    made: Any = entry.load()(url)
    fault = misshapen(made)
    if isinstance(made, str) or not is_registry(made):
        fault = f"it must give an object with `fetch`, not {type(made).__name__}"
    if fault is not None:
        raise InvalidRegistryURL(f"{entry.name}:// is offered by {entry.value}: {fault}")
    return cast("Registry", made)


def entry_of(url: str, *, also: Iterable[str] = ()) -> EntryPoint:
    """Find the entry point that makes the registry of a URL.

    Raises `InvalidRegistryURL` for a scheme that nobody offers; `also` are those that the caller
    understands itself, to be named among the known ones.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not SCHEME.fullmatch(scheme):
        raise _no_scheme(url)
    entry = _offered(own=True).get(scheme.lower())
    if entry is None:
        offered = _offered(own=False)
        entry = offered.get(scheme.lower())
        if entry is None:
            raise _unknown_scheme(scheme, sorted({*offered, *also}))
    return entry


def _offered(*, own: bool) -> dict[str, EntryPoint]:
    """Give the entry points by scheme: those of rpcguard, or of whatever is installed."""
    from importlib.metadata import PackageNotFoundError, distribution, entry_points  # slow to load

    if not own:
        return {entry.name: entry for entry in entry_points(group=GROUP)}
    # To ask each of 180 packages takes a twentieth of what it takes to make a first transport.
    try:
        found = distribution("rpcguard").entry_points
    except PackageNotFoundError:  # it runs from a checkout that is not installed
        return {}
    return {entry.name: entry for entry in found.select(group=GROUP)}


def _no_scheme(url: str) -> InvalidRegistryURL:
    scheme, colon, rest = url.partition(":")
    if colon and rest and scheme.lower() == "file":
        meant = Path(rest).absolute().as_uri()
        return InvalidRegistryURL(f"the registry URL lacks slashes; did you mean {meant}?")
    if colon and scheme.lower() in _offered(own=False):
        told = f"lacks slashes; a right one begins with {scheme.lower()}://"
    else:  # what stands there may be credentials, which are not shown
        told = f"has no scheme; a right one looks like {RIGHT}"
    return InvalidRegistryURL(f"the registry URL {told}")


def _unknown_scheme(scheme: str, offered: list[str]) -> InvalidRegistryURL:
    from difflib import get_close_matches  # seldom wanted

    longer = [name for name in offered if name.startswith(scheme.lower())]
    near = longer or get_close_matches(scheme.lower(), offered, n=1)
    known = ", ".join(offered) or "none: is rpcguard installed?"
    hint = f"did you mean {near[0]}://?" if near else f"a right one looks like {RIGHT}"
    return InvalidRegistryURL(f"no registry for the scheme {scheme!r}; known are: {known}; {hint}")
