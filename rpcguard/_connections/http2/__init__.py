"""HTTP/2 to one node: many calls on one connection.

The problem: the h2 package ends a connection at the first GOAWAY, while RFC 9113 §6.8 lets the
streams at or below its last id finish; and one call's timeout must not end its neighbours.

The idea: the books of `_wire` say what has come for whom, and those of `places` who sits on which
connection. A channel moves bytes for all: what is pushed belongs to the connection, and whoever
waits reads for everybody, until its own time is up. Sockets, dialling and TLS are those of
HTTP/1.1, to which a node may agree in the handshake. Threads do not share an HTTP/2 connection.

What must always hold: what a peer can send is bounded; errors are those of the caller's library;
a stream that the node refused is known to be unsent; nothing awaits between a change of the books
and the bytes that tell of it.

Imports: `_connections`, `_wire` and below. A newcomer gets wrong: taking a GOAWAY for the end, and
taking half of a frame along when a call is cancelled.
"""
