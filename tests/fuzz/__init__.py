"""Bad input for every parser that takes bytes from outside.

`targets.py` has one target per parser in a table. `python -m tests.fuzz TARGET --runs 1000000` runs
one for long, guided by coverage where atheris is installed, else by mutation alone. The tests give
each some thousand inputs, and everything that was ever found in `corpus/TARGET/`.
"""
