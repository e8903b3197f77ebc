"""etcd by its JSON gateway: a range, then a streamed watch from that revision.

The problem: etcd knows keys, not services. Each framework writes its nodes in a form of its own,
and a node that crashed is told from one that left only by the end of its lease.

The idea: the layouts (kratos, go-zero, grpc's naming, raw) are pure functions in `layouts`, which
read values; `registry` talks, and knows no layout. The gateway needs no gRPC stack.

What must always hold: a compacted revision or a lost member ends the watch and starts over with a
range; leases that run out remove their nodes; a revision that goes backwards is another store.

Imports: `_shared` and below. A newcomer gets wrong: a watch that is silent is not one that is well;
a member without a leader says nothing at all.
"""

from rpcguard._public import adopt
from rpcguard.registries.etcd.registry import EtcdRegistry

__all__ = ["EtcdRegistry"]

adopt(__name__, EtcdRegistry)
