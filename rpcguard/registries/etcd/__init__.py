"""etcd by its JSON gateway: a range, then a streamed watch from that revision.

Four layouts are understood (kratos, go-zero, grpc's naming, raw); `layouts` reads values,
`registry` talks. What must always hold: a compacted revision or a lost member ends the watch and
starts over with a range, and leases that run out remove their nodes.
"""

from rpcguard.registries.etcd.registry import EtcdRegistry as EtcdRegistry
