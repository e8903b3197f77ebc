"""xDS, the protocol of Envoy's control planes.

`rest` polls EDS over REST: clusters are services, endpoints are nodes, localities are zones with a
priority.

What must always hold: what a control plane sends is taken whole or not at all, and a list that is
rejected leaves the last one in use.
"""

from rpcguard.registries.xds.rest import XdsRegistry as XdsRegistry
