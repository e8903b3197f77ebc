"""Decisions only: no I/O, no clock and no chance of its own.

The problem: what a caller must decide about a call (which node, again or not, whose fault) is the
same for threads, tasks, httpx and httpx2, and it must be tested over hours of a fleet's life.

The idea: everything that decides stands here and does nothing else. Time, random numbers and
results are handed in; what is to be done comes out as a step, an event or a return value. So one
generator is driven by threads, by tasks, by the simulation and by unit tests alike, and an hour of
a fleet runs in milliseconds.

What must always hold: no module here imports anyio, asyncio, httpx, OpenTelemetry or a socket, not
even for types. A service's lock guards arithmetic only; nothing under it waits, logs or calls out.

Imports: `call` may use `service`, that `routing`, that `policies`, those `outcomes` and
`balancing`, and all of them `nodes`; never the other way round. Outside of `_core` only `_context`,
`_checks` and `_text`.

A newcomer gets wrong: reading the clock where `now` is at hand. Two looks at the time in one
decision are two different worlds.
"""
