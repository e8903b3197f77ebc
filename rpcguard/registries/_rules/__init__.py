"""Rules that a fleet already has, in the words of others, read as routes.

The problem: whoever runs Dubbo or Polaris has rules in their consoles, and a Python caller that
does not go by them sends ordinary calls to nodes that all others keep apart.

The idea: pure functions, from a document as the console wrote it to a list of `Route`. What is read
where, and when, is the adapter's.

What must always hold: a document is taken whole or not at all. A part that routes cannot say (a
regular expression, a range, a fallback of several steps) raises `ValueError` that names the rule,
the field and the value, for a condition that is left out makes a rule wider than it was meant.

Imports: `_shared`, `_core` and below. A newcomer gets wrong: reading a rule that filters (Dubbo's
conditions do, one after the other) as one of which the first that matches wins.
"""
