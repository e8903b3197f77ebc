"""Where the layouts of znodes stood before: scripts that read znodes by them find them here too."""

from rpcguard.registries.zookeeper.znodes import LAYOUTS as LAYOUTS
from rpcguard.registries.zookeeper.znodes import Znode as Znode
