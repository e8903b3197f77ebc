"""Lists are followed and nodes are probed here, in one background thread per process.

The problem: an event loop of the caller may be blocked for seconds, ended, or there may be many; a
list must stay live all the same, and a program must be able to exit at once.

The idea: one daemon thread with an anyio event loop of its own serves all transports. A `Feed`
follows one list (watch where the registry can push, else poll), with jittered back-off while the
registry is in trouble; the last good list stays. Probes of nodes that are out run beside it.

What must always hold: nothing that an adapter raises ends a list. The thread never delays exit and
survives a fork: the child starts over with the lists of its parent. Services are held weakly here.

Imports: `registries`, `_telemetry`, `_connections` (for probes over HTTP) and below. A newcomer
gets wrong: waiting for the background loop from a finalizer, which may run on that very loop.
"""
