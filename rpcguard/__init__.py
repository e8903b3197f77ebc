"""Call other services with httpx, and do not notice when their nodes come, go, crash or freeze."""

from rpcguard._version import __version__

__all__ = ["__version__"]
