"""Nacos: its HTTP API of any age, polled, and its push by gRPC.

The problem: Nacos pushes by gRPC alone, on a second port that firewalls seldom know and that older
servers do not have; and it answers alike for a service that is unknown and one that is empty.

The idea: `registry` polls, and that alone is enough. Beside it `push` holds one stream for all
services, whose lists are taken as they come. Both are read by `lists`. While the stream is there
polls are few, and they find what a push has lost.

What must always hold: a port that is closed costs nothing but the push. Where Nacos calls every
node healthy to protect a service, its list takes nobody away.

Imports: `_rules`, `_shared`, `_wire` and below. A newcomer gets wrong: that a push is quick. Nacos
gathers changes for half a second first, and the list by HTTP is as old as that too.
"""

from rpcguard._public import adopt
from rpcguard.registries.nacos.registry import NacosRegistry

__all__ = ["NacosRegistry"]

adopt(__name__, NacosRegistry)
