"""The provider's half of the offline signal: a node that leaves says so on what it still serves.

The problem: a registry needs up to two minutes to say that a node is gone, and a load balancer's
health check some seconds; a node that is told to stop knows it before all of them.

The idea: a middleware around the application, ASGI or WSGI, adds one header to every answer from
the moment at which the node is told that it will leave. Callers read it with the next answer. The
application serves as before until it is stopped.

What must always hold: only the node's own operator can switch it; an answer is delivered as usual,
whatever its status; nothing here needs the caller's half to be installed.

Two more wrappers, `ContextASGI` and `ContextWSGI`, hand the lane of a request on to the calls that
are made while it is served.

Imports: nothing of rpcguard but `_context` and below. A newcomer gets wrong: stopping the process
before callers had a chance to hear of it.
"""

from rpcguard._public import adopt
from rpcguard.provider.asgi import OfflineASGI
from rpcguard.provider.context import ContextASGI, ContextWSGI
from rpcguard.provider.switch import OfflineSwitch
from rpcguard.provider.wsgi import OfflineWSGI

__all__ = ["ContextASGI", "ContextWSGI", "OfflineASGI", "OfflineSwitch", "OfflineWSGI"]

for _name in __all__:
    adopt(__name__, globals()[_name])
