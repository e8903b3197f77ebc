"""`rpcguard routes`: which rule matches a call, and which nodes it would use.

The problem: of ten rules and three lanes nobody can say by heart where a call goes.

The idea: a list is read as `rpcguard nodes` reads it, rules as a transport does, and both are given
to the same code that decides on calls; nothing is called.

What must always hold: no turn of a share is taken by looking.

Imports: the transports (`_httpx`) and below, and how `nodes` waits for a list. A newcomer gets
wrong: judging nodes here. What a running program has learned of them is on its status page.
"""
