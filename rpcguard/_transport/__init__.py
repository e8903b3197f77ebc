"""How a call is driven: what httpx sees of rpcguard.

The problem: the same decisions must be carried out in threads and in tasks on any number of event
loops, and everything that was opened must be closed, also when a loop ends without ceremony.

The idea: a thin driver per kind takes the steps of `_core/call` and does what they say. Services
are found by the host of the URL in a table; what is kept per node and event loop hangs on the loop
and is closed with it.

What must always hold: after `close` new calls are refused at once and those in flight finish within
`drain_timeout`; a forked child touches no socket and no lock of its parent; a dropped transport
closes nothing silently but warns.

Imports: everything below; nothing below imports it. A newcomer gets wrong: running user code (body
iterators, log handlers, hooks) while holding a lock.
"""
