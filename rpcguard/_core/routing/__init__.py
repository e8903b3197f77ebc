"""Which nodes a call may go to, before a balancer picks one of them.

The problem: a node is not only good or bad. It may be the new version that is to get 5 % of the
calls, or belong to somebody's lane and to nobody else. A caller that does not look sends ordinary
calls to such nodes.

The idea: what a call asks for (`facts`, `marks`) is matched against the rules (`table`) without a
lock, and what a node offers (`cells`) decides into which cell it falls. Cells are the coarsest
partition that the rules can tell apart, so that every node is in exactly one pool of a balancer,
and a destination is a set of cells. What takes turns (`shares`) or judges (`guards`) has state and
lives under the lock of the service.

What must always hold: no rule can empty a service; an unmarked call stays out of lanes while a node
without one is listed; a marked call never meets another lane while its own, or base, is listed.

Imports: `policies`, `nodes` and `_context`. A newcomer gets wrong: a share that is drawn at random.
Of callers with 20 calls at 5 % a third send none. Shares take turns, per caller.
"""
