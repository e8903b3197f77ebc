"""`rpcguard nodes`: the list that a caller would see, once or as it moves.

The problem: what a registry lists and what a caller makes of it are two things, and both move while
somebody looks.

The idea: a source gives looks (of a registry by a transport of its own, or of a running program by
its status page); rows and changes are computed from looks; screens print them as a table, as lines
or as JSON.

What must always hold: what comes from a registry is printable before it reaches a terminal.

Imports: the transports (`_httpx`) and below. A newcomer gets wrong: computing while drawing.
"""
