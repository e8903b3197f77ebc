"""Which of the eligible nodes gets the next call.

The problem: callers do not know of each other. If all of them take the node that looks best, it is
the worst a moment later; if they take turns, a slow node gets as much as a fast one.

The idea: draw two, take the less loaded (the power of two choices, Mitzenmacher 2001), with load as
in Finagle's peak EWMA: latency times calls in flight. Ties go by turns, so that idle traffic is
spread as evenly as by round robin. A warming node is thinned, that is refused some of its turns;
dividing its load instead starves it (facts: at one call in flight it got 2 to 13 % of its share).
A failure costs load, or the node that fails fastest would attract the most.

What must always hold: a pick is O(1) at any number of nodes and allocates next to nothing; shares
follow weights; whatever made a node look bad fades, so that it is tried again.

Imports: `nodes` only. A balancer runs under its service's lock and needs none of its own. A
newcomer gets wrong: looking at all nodes, which is right for ten and 60 ms for ten thousand.
"""
