"""HTTP/2 to one node: many calls on one connection.

The problem: the h2 package ends a connection at the first GOAWAY, while RFC 9113 §6.8 lets the
streams at or below its last id finish; and one call's timeout must not end its neighbours.

The idea: books without I/O say what has come for whom; the connection reads and writes on their
word. Threads do not share an HTTP/2 connection.

What must always hold: what a peer can send is bounded; errors are those of the caller's library;
a stream that the node refused is known to be unsent.

Imports: as `_connections`. A newcomer gets wrong: taking a GOAWAY for the end.
"""
