"""Which of the eligible nodes gets the next call.

The problem: callers do not know of each other. If all of them take the node that looks best, it is
the worst a moment later; if they take turns, a slow node gets as much as a fast one.

The idea: draw two by weight (the power of two choices, Mitzenmacher 2001) and compare their calls
in flight per weight. Where one is less loaded even with this call than the other is without, it
wins. Else they are as loaded as calls allow, and turns decide: the node with fewer picks for its
weight. Comparing (in flight + 1) ÷ weight alone gave the lighter of 100:1 nothing at one call in
flight, and half of the calls where it was drawn by weight and compared without it.

What is known of answers comes on top, and only where it is knowledge:

* A slow answer is no slow node. The node lets 5 turns pass, 20 after further ones, and a good one
  takes that back. So one answer of 5 s is forgiven within five rounds, and a caller that calls a
  node every ten seconds learns from one answer all the same. A peak that decays by time shut nodes
  out for half a minute.
* A late answer, of more than 1.8 times the usual, costs up to two turns: a caller of few calls has
  none in flight to compare, and a node of three times the latency is to get less.
* A slow node is one whose average is apart from the others' by more than 3.5 standard errors of
  what calls differ. Its calls count as so many as it is slower, and it lets turns pass: one for
  twice as slow, 64 for three times, fewer where calls are seldom, but 20, or it makes the p99 of
  all. A good answer has it tried again at once, a third one makes it unknown. Nearer differences
  are noise: following them doubled the p99 of calls of mixed length.
* Where all become slower, what is usual goes with them: a new node is known by answers of now, and
  stood apart from others that are known by those of a better time.
* A failing node, from the second failure in a row, lets 256 turns pass, and so does one that says
  429 again and again. What is refused at once leaves its load behind for as long as a good answer
  would have taken: else the node that refuses looks idle, and of two it gets all calls.
* A node that owes answers without a word is as slow as it has been silent, times what it owes,
  unless the other one is slow and takes four times as long: a queue is no reason to call that.
* A cold node cannot lose by its load, or it would never get warm: it gets what its ramp allows.
  The chance is set so that its share is ramp ÷ (others + ramp) at any number of nodes. Dividing its
  load by the ramp instead starved it; plain thinning gave it up to twice its share.

What must always hold: a pick is O(1) and allocates next to nothing; shares follow weights; what
made a node look bad is forgotten after turns or seconds, whichever is first.

Imports: `nodes` only. A balancer runs under its service's lock and needs none of its own. A
newcomer gets wrong: looking at all nodes, which is right for ten and 60 ms for ten thousand.
"""
