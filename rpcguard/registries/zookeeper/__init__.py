"""ZooKeeper through kazoo: watches on the children of a service, values of each child.

The problem: a watch of ZooKeeper tells once that something has changed, and kazoo tells it on
threads of its own, which know of no event loop.

The idea: layouts for Curator, Dubbo 2 (interfaces) and Dubbo 3 (applications) are pure functions in
`znodes`; `kazoo` keeps that library in its place: its threads are daemons and its answers are
bounded; `registry` follows the children and hands lists over.

What must always hold: a lost session is a trouble, not an empty list.

Imports: `_rules`, `_shared` and below, and kazoo, which is an extra. A newcomer gets wrong: reading
the list before the watch is set, so that what changes in between is never seen.
"""

from rpcguard._public import adopt
from rpcguard.registries.zookeeper.registry import ZooKeeperRegistry

__all__ = ["ZooKeeperRegistry"]

adopt(__name__, ZooKeeperRegistry)
