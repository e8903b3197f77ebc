"""The provider's half of the offline signal: a node that leaves says so on what it still serves."""

from rpcguard.provider.asgi import OfflineASGI
from rpcguard.provider.wsgi import OfflineWSGI

__all__ = ["OfflineASGI", "OfflineWSGI"]
