"""`rpcguard demo`: a release, a crash, a freeze and a burst of errors, played on real processes.

Real uvicorn providers are started, stopped, killed and frozen by a script while plain httpx,
httpx-retries, where it is installed, and rpcguard send the same steady load. What each call came to
is recorded, drawn while it runs and written into a report.

What must always hold: no figure is made up, no process outlives the demo, and all sides get the
same calls.

Imports: the public package (`rpcguard`), as a user would, `_planning` for a plan that is played,
and below. A newcomer gets wrong: counting what no client could have saved as a loss of one side.
"""
