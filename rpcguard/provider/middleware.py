"""What the two middlewares share: the switch, the paths that turn it, and the node's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rpcguard.provider.address import check_node
from rpcguard.provider.control import Control
from rpcguard.provider.switch import OfflineSwitch

if TYPE_CHECKING:
    import os

HEADER = "X-RpcGuard-Offline"


class OfflineMiddleware:
    """The part of `OfflineASGI` and `OfflineWSGI` that knows neither interface."""

    def __init__(
        self,
        *,
        switch: OfflineSwitch | None = None,
        file: str | os.PathLike[str] | Literal[False] | None = None,
        token: str | None = None,
        node: str | None = None,
        prefix: str = "/-/rpcguard",
    ) -> None:
        if switch is not None and file is not None:
            raise ValueError("give the file to the switch: OfflineSwitch(file=...)")
        check_node(node)
        self.switch: OfflineSwitch = switch or OfflineSwitch(file=file)
        """The switch, which other middlewares of the process may share."""
        self._node = node
        self._control = Control(self.switch, token=token, prefix=prefix)

    @property
    def offline(self) -> bool:
        """Tell whether responses carry the notice."""
        return self.switch.offline

    def go_offline(self, *, ttl: float | None = None) -> None:
        """Mark every later response of this process; see `OfflineSwitch.go_offline`."""
        self.switch.go_offline(ttl=ttl)

    def online(self) -> None:
        """Take back what `go_offline` said; see `OfflineSwitch.online`."""
        self.switch.online()

    def _with_name(self, notice: str, accepted_on: str | None) -> str:
        name = self._node or accepted_on
        return notice if name is None else f"{notice}; at={name}"
