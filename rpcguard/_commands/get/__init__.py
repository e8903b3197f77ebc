"""`rpcguard get`: one call as a program would make it, with its attempts.

The problem: "does a call get through from here?" is asked in a shell, where `curl` knows neither
the registry nor the retry.

The idea: a client as the README makes it sends one GET; the answer goes to standard output and what
each attempt met to standard error, so that a pipe gets the body alone.

What must always hold: the body is handed on byte by byte, as it comes; what a node wrote is never
taken for a command by a terminal.

Imports: the transports (`_httpx`) and below. A newcomer gets wrong: printing attempts between the
bytes of the body.
"""
