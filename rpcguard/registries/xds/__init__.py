"""xDS, the protocol of Envoy's control planes.

`rest` polls EDS over REST. What must always hold: a list that is rejected leaves the last one in
use.
"""

from rpcguard.registries.xds.rest import XdsRegistry as XdsRegistry
