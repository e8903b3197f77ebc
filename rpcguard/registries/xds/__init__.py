"""xDS, the protocol of Envoy's control planes.

The problem: a control plane is made for Envoys, which hold a stream of gRPC and acknowledge what
they take; a library that only wants a list of nodes needs little of that.

The idea: `ads` holds one stream for all services. What is said on it is decided without I/O:
`books` know what was asked and answered, a `Chain` leads from a listener over routes and clusters
to endpoints, and `routes` turns what it passes into routes of ours, `limits` their timeouts.
`client` only moves messages. `rest` polls EDS: clusters are services. Both read endpoints by
`assignments`, of a stream only those that `packed` does not know from the list before.

What must always hold: what a control plane sends is taken whole or not at all, and a resource that
is refused or deleted leaves the last one in use. A list is told when all that it stands on is
there. A route that cannot be said in our words is never left out: its calls would go elsewhere.

Imports: `_shared`, `_wire` and below. A newcomer gets wrong: the weight of a locality is divided
among its endpoints, it is not the weight of each; and the weights of clusters are shares of calls,
not of nodes: a balancer by load would send 90/10 as 0/100.
"""

from rpcguard._public import adopt
from rpcguard.registries.xds.rest import XdsRegistry

__all__ = ["XdsRegistry"]

adopt(__name__, XdsRegistry)
