"""What goes over a connection, as bytes: HTTP/1.1, the books of HTTP/2, and TLS, without any I/O.

A connection hands in what it received and sends what it is given; it decides nothing about
framing. Where a message ends is decided here, once, by RFC 9112 §6.3: a parser only takes heads
apart. So there may be two of them: llhttp (`httptools`) reads the heads that follow the grammar to
the letter, which are nearly all; h11 is asked about the others, and is the only one where httptools
is missing or `RPCGUARD_PARSER=h11` is set. What h11 accepts and llhttp does not (a folded line, a
bare LF, a length said twice) is served, and its connection is not used again.

What must always hold: an answer whose end is ambiguous is refused; bytes after the end of an answer
are dropped, and `ResponseReader.reusable` is false then.

The books of HTTP/2 (`h2_session`) stand on the h2 package and keep from it what it would end a
whole connection over: a GOAWAY, frames for streams that are over, an answer that belies its length.
Each stream is told of its own answer alone, credit is given back whether anybody reads or not, and
what a peer can send for nothing is bounded. Nothing in them is about requests of httpx: a stream
that talks in both directions stands on the same books.

`protobuf` reads and writes messages by tables of what is wanted of them; it is bounded in depth and
parts, and skips what no table names.

Imports: `_core` and below. A newcomer gets wrong: keeping bytes after an answer for the next one;
they would be given to another call.
"""
