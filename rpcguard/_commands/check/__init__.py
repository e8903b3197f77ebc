"""`rpcguard check`: all that can be wrong between a caller and a service, tried in order.

The problem: a first call that fails names one fault, and there are a dozen places where it may lie:
the registry, its credentials, the list, each node's port, certificate, Host check and clock.

The idea: the way of a call is gone one step at a time, by the code that makes calls: the registry
is asked, then each node by itself. What was seen is plain data (`Tried`), and what it means, and
what is to be done, is decided by functions without I/O.

What must always hold: every fault has its way out in the same line; nothing is called but `GET`s of
the path that was given and of the offline switch, which answers them without turning; a step that
was not reached is not called well.

Imports: the transports (`_httpx`) and below, and how `nodes` waits for a list. A newcomer gets
wrong: taking a warning for a failure. A status of 404 says that the node answers; only the user
knows the path.
"""
