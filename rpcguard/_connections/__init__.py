"""The connections of one node, and what is sent over them.

The problem: a pool over many nodes inspects every connection for every call (milliseconds at 200 in
flight), and may reuse a TLS connection to one name for another.

The idea: each node has a stack of its own, last in first out, so that the warmest connection is
used and the others age and close. `children` makes them, all with one TLS context. The node only
decides where to connect: the `Host` header, the SNI and the name on the certificate stay the
service's.

What must always hold: a connection carries one call at a time (HTTP/1.1), and what is left on it
after an answer never reaches the next call. A connection that was kept and has died is told apart
from a node that fails. Closing works from any thread; a cancelled call leaves its connection
closed, never half read.

Imports: `_wire`, `_core` and below; not the transport that owns it. A newcomer gets wrong: handing
out an idle connection without asking whether its peer has closed it.
"""
