"""`rpcguard demo`: a release, a crash, a freeze and a sick node, played with real processes."""
