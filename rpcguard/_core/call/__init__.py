"""The life of one call, as a generator that decides and never waits.

The problem: sending, reading, sleeping and closing are written differently for threads and for
tasks, but when to send again, and to whom, must be the same to the letter.

The idea: `Call.run` yields steps (`Send`, `Read`, `Discard`, `Sleep`); its driver carries each out
and sends back the result, or throws in what it raised. Before a retry the checks run in this order:
attempts, safety, body, deadline, budget, an untried node; the first that says no is what is
counted.

What must always hold: each lease that was taken is released once, on every path, cancellation and
KeyboardInterrupt included. A call that may have been processed and may not be repeated is never
sent twice. The user's request is never changed.

Imports: `service` and below. A newcomer gets wrong: doing something after a `yield` without asking
what happens if the generator is closed there.
"""
