"""The earlier path of `rpcguard.registries.zookeeper.znodes`, for programs that import it."""

from rpcguard.registries.zookeeper.znodes import LAYOUTS as LAYOUTS
from rpcguard.registries.zookeeper.znodes import Znode as Znode
