"""ZooKeeper through kazoo: watches on the children of a service, values of each child.

Layouts for Curator, Dubbo 2 (interfaces) and Dubbo 3 (applications) are in `znodes`; `kazoo` keeps
that library in its place: its threads are daemons and its answers are bounded. What must always
hold: a lost session is a trouble, not an empty list.
"""

from rpcguard.registries.zookeeper.registry import ZooKeeperRegistry as ZooKeeperRegistry
