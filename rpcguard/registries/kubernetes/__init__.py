"""Kubernetes EndpointSlices: a list, then a watch from its resource version.

`endpoint_slices` merges the slices of a service, `registry` talks to the API server with the pod's
own token, which is read again as it is renewed.

What must always hold: endpoints that terminate and still serve are drained, not gone; a watch whose
resource version is too old (410) starts over with a list.
"""

from rpcguard.registries.kubernetes.registry import KubernetesRegistry as KubernetesRegistry
