"""Kubernetes EndpointSlices: a list, then a watch from its resource version.

`endpoint_slices` merges the slices of a service, `registry` talks to the API server with the pod's
own token. What must always hold: terminating endpoints that still serve are drained, not gone.
"""

from rpcguard.registries.kubernetes.registry import KubernetesRegistry as KubernetesRegistry
