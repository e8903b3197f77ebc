"""Release plans: a fleet played by events, with the caller's own code in it.

The problem: how many nodes may be taken away at once cannot be tried in production.

The idea: providers are queues with a few workers, callers are real `Service` objects with real
policies and balancers, and time is a number. Nothing waits, so an hour takes seconds, and a seed
repeats a run exactly. Tests, benchmarks and commands play the same fleet.

What must always hold: no I/O, no wall clock; the same seed gives the same figures.

Imports: `_core` and below. A newcomer gets wrong: comparing two runs that drew different calls.
"""
