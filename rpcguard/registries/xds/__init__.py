"""xDS, the protocol of Envoy's control planes.

The problem: a control plane is made for Envoys, which hold a stream of gRPC and acknowledge what
they take; a library that only wants a list of nodes needs little of that.

The idea: `rest` polls EDS over REST: clusters are services, endpoints are nodes, localities are
zones with a priority.

What must always hold: what a control plane sends is taken whole or not at all, and a list that is
rejected leaves the last one in use.

Imports: `_shared` and below. A newcomer gets wrong: the weight of a locality is divided among its
endpoints; it is not the weight of each.
"""

from rpcguard._public import adopt
from rpcguard.registries.xds.rest import XdsRegistry

__all__ = ["XdsRegistry"]

adopt(__name__, XdsRegistry)
