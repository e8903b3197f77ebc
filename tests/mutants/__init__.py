"""Small changes of the core by fixed operators, and the tests that notice each of them.

The mutations of the simulation break rules that somebody thought of. These here are drawn: an
operator, a place in `rpcguard/_core` and a seed, so that nobody has chosen what is looked at. A
change that no test notices is a rule without a test, or a line without a rule; each survivor is
either killed by a new test or named in `known.py` with the reason why it changes nothing.

Each runs in processes forked from one that has imported what all tests need, ring by ring: some
simulated worlds, the tests of its room, those of the whole core, many worlds, what takes long.
It takes half an hour, so it is a command of its own and no part of CI: `python -m tests.mutants`.
"""
