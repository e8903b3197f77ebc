"""Kubernetes EndpointSlices: a list, then a watch from its resource version.

The problem: the endpoints of one service lie in several slices, which are changed, split and merged
one by one, and one address may stand in two of them for a moment.

The idea: `endpoint_slices` merges the slices of a service without any I/O; `registry` talks to the
API server with the pod's own token, which is read again as it is renewed.

What must always hold: endpoints that terminate and still serve are drained, not gone; a watch whose
resource version is too old (410) starts over with a list.

Imports: `_shared` and below. A newcomer gets wrong: taking `ready: null` for not ready; by the API
it means that nobody knows, and counts as ready.
"""

from rpcguard._public import adopt
from rpcguard.registries.kubernetes.registry import KubernetesRegistry

__all__ = ["KubernetesRegistry"]

adopt(__name__, KubernetesRegistry)
