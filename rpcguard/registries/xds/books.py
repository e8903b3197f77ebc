"""What was asked of a control plane, what it said, and what is to be said next; no I/O.

The state-of-the-world variant of the protocol: a request names all resources of its type that are
wanted. Each answer is acknowledged, or refused with the reason, by the next request of its type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from rpcguard.registries._shared.faults import FaultLog
from rpcguard.registries.xds.messages import CLUSTER_TYPE, LISTENER_TYPE, REQUEST, RESPONSE
from rpcguard.registries.xds.resources import TYPES, Resource, name_of, read_resource, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MOST_RESOURCES: Final = 10_000
"""Resources that are kept of one answer: Istio sends every cluster of a mesh, asked for or not."""

_INVALID_ARGUMENT: Final = 3
"""gRPC's code, which an answer is refused with."""

_NOT_FOUND: Final = 5
"""gRPC's code of a resource that the control plane says not to have."""

_LONGEST_REASON: Final = 500
"""Letters of a reason: it goes into the log of the control plane."""

_GRACE: Final = 1.0
"""Seconds after a whole list without a name until that counts as absent. The answer may have
crossed with the request that named it; the answer to that comes within milliseconds."""

_REST: Final = 1.0
"""Seconds between two refusals of one type: a control plane that sends the same again at once would
be refused, and read, a thousand times a second."""

_WHOLE: Final = (LISTENER_TYPE, CLUSTER_TYPE)
"""The types of which an answer has all that there is: what is not in it was deleted."""


class Missing(Enum):
    """Why there is nothing of a resource."""

    PENDING = "it may still come"
    ABSENT = "there is no such resource"


@dataclass(slots=True)
class _Kept:
    """A resource in use, and the bytes that it was read from."""

    resource: Resource
    value: bytes


@dataclass(slots=True)
class _Type:
    """One type of resource: what was asked, and what is known."""

    url: str
    names: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    version: str = ""
    nonce: str = ""
    fault: str = ""
    due: bool = False
    held: dict[str, _Kept] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    """When a resource that is not held was asked for."""
    refused_at: float = -math.inf
    """When an answer was refused last."""

    def is_due(self, now: float) -> bool:
        """Tell whether there is something to say: other names, or what became of an answer."""
        if self.names and self.names != self.asked:
            return True
        return self.due and not (self.fault and now < self.refused_at + _REST)


class AdsBooks:
    """The conversation with one control plane.

    `node` names this caller in the first request of a stream. `patience` is for how many seconds a
    resource that is not sent may still come; then it is absent, until it comes after all. What is
    held stays when a newer version is of no use, when it was deleted, and when the stream ends.
    """

    def __init__(
        self,
        node: Mapping[str, Any],
        *,
        patience: float,
        shown: str,
        clock: Callable[[], float],
    ) -> None:
        self._node = node
        self._patience = patience
        self._shown = shown
        self._clock = clock
        self._faults = FaultLog()
        self._types = {url: _Type(url) for url in TYPES}
        self._named = False
        self._connected = False
        self.answered: bool = False
        """Whether anything was answered on this stream."""

    def begin(self) -> None:
        """Start to speak on a new stream: everything is asked for anew.

        Without the version that is held: whether its number means the same to a control plane that
        was restarted nobody knows, and the whole list is a proof of life.
        """
        self._named = self.answered = False
        self._connected = True
        now = self._clock()
        for kind in self._types.values():
            kind.version = kind.nonce = kind.fault = ""
            kind.asked = frozenset()
            kind.due = False
            kind.since = dict.fromkeys(kind.since, now)

    def end(self) -> None:
        """Note that the stream has ended: what is missing may come with the next one."""
        self._connected = False

    def want(self, names: Mapping[str, Iterable[str]]) -> None:
        """Say what is wanted from now on, by type.

        Nothing else is kept but what is asked for still, which is told when it changes and not when
        it is wanted again.
        """
        now = self._clock()
        for url, kind in self._types.items():
            kind.names = frozenset(names.get(url, ()))
            for name in kind.held.keys() - kind.names - kind.asked:
                del kind.held[name]
            kind.since = {
                name: kind.since.get(name, now) for name in kind.names if name not in kind.held
            }

    def find(self, url: str, name: str) -> Resource | Missing:
        """Give a resource, or why there is none."""
        kind = self._types[url]
        held = kind.held.get(name)
        if held is not None:
            return held.resource
        since = kind.since.get(name)
        late = since is not None and self._clock() - since >= self._patience
        return Missing.ABSENT if late and self._connected else Missing.PENDING

    @property
    def holds_some(self) -> bool:
        """Tell whether anything is held, so that a control plane has something to answer."""
        return any(kind.held for kind in self._types.values())

    @property
    def next_due(self) -> float:
        """Tell when there is something to do by the clock; infinite if there is not.

        The next resource becomes absent then, or a refusal has waited for long enough.
        """
        now, types = self._clock(), self._types.values()
        ends = [since + self._patience for one in types for since in one.since.values()]
        ends += [one.refused_at + _REST for one in types if one.due]
        return min((end for end in ends if end > now), default=math.inf)

    def requests(self) -> list[bytes]:
        """Take the requests that are to be sent now."""
        now = self._clock()
        due = [kind for kind in self._types.values() if kind.is_due(now)]
        return [REQUEST.encode(self._request(kind, now)) for kind in due]

    def _request(self, kind: _Type, now: float) -> dict[str, Any]:
        # An empty list would ask for everything, so that of a type which nobody wants any more the
        # old names stay.
        kind.asked, kind.due = kind.names or kind.asked, False
        request: dict[str, Any] = {
            "version_info": kind.version,
            "resource_names": sorted(kind.asked),
            "type_url": kind.url,
            "response_nonce": kind.nonce,
        }
        if not self._named:
            request["node"], self._named = self._node, True
        if kind.fault:
            kind.refused_at = now
            reason = kind.fault[:_LONGEST_REASON]
            request["error_detail"] = {"code": _INVALID_ARGUMENT, "message": reason}
        return request

    def take(self, message: bytes) -> None:
        """Take in an answer; raise `ValueError` where it is none at all."""
        response = RESPONSE.decode(message)
        self.answered = True
        kind = self._types.get(response.get("type_url", ""))
        if kind is None or not kind.names | kind.asked:
            return  # not asked for: acknowledged without a name, it would be asked for as a whole
        resources = response.get("resources", [])
        faults, seen = self._take_all(kind, resources)
        if kind.url in _WHOLE:
            self._take_absence(kind, seen)
        for error in response.get("resource_errors", ()):
            self._take_error(kind, error)
        kind.nonce, kind.due = response.get("nonce", ""), True
        kind.fault = "; ".join(faults)
        if not faults:
            kind.version = response.get("version_info", "")

    def _take_all(
        self, kind: _Type, resources: list[Mapping[str, Any]]
    ) -> tuple[list[str], set[str]]:
        if len(resources) > _MOST_RESOURCES:
            return [f"{len(resources)} resources are more than {_MOST_RESOURCES}"], set(kind.held)
        faults: list[str] = []
        seen: set[str] = set()
        for each in resources:
            name = ""
            try:
                packed = unpacked(each)
                name = name_of(packed, kind.url)
                twice = name in seen
                seen.add(name)
                if twice:
                    raise ValueError("it is there twice")
                if packed.value and name in kind.names | kind.asked:
                    self._hold(kind, name, packed.value)
            except ValueError as error:
                faults.append(f"{name or 'a resource'}: {error}")
                if name in kind.since:
                    kind.since[name] = -math.inf  # what came is of no use, and nothing is awaited
                self._faults.report(self._where(kind, name), f"{error}; the last version stays")
        return faults, seen

    def _hold(self, kind: _Type, name: str, value: bytes) -> None:
        held = kind.held.get(name)
        # Istio sends all of a type when one has changed.
        if held is None or held.value != value:
            last = None if held is None else held.resource
            kind.held[name] = _Kept(read_resource(kind.url, value, self._faults, last), value)
        kind.since.pop(name, None)
        self._faults.report(self._where(kind, name), None)

    def _take_absence(self, kind: _Type, seen: set[str]) -> None:
        soonest = self._clock() - self._patience + min(_GRACE, self._patience)
        for name in kind.asked - seen:
            if name in kind.held:
                where = self._where(kind, name)
                self._faults.report(where, "it was deleted; the last version stays")
            elif name in kind.since:
                kind.since[name] = min(kind.since[name], soonest)

    def _take_error(self, kind: _Type, error: Mapping[str, Any]) -> None:
        name = error.get("resource_name", {}).get("name", "")
        detail = error.get("error_detail", {})
        text = str(detail.get("message", ""))[:_LONGEST_REASON]
        if name in kind.since and detail.get("code") == _NOT_FOUND:
            kind.since[name] = -math.inf
        elif name in kind.names:
            self._faults.report(self._where(kind, name), f"{text}; the last version stays")

    def _where(self, kind: _Type, name: str) -> str:
        return f"{self._shown}, {kind.url.rpartition('.')[2]} {name!r}"
