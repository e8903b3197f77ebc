"""The subcommands of `rpcguard`, a folder for each.

The problem: a command that is started in a terminal or a pipeline has to begin at once, to say in
one line what was wrong, and to end with a status that scripts can trust.

The idea: the command line itself (`cli`) only parses; each subcommand loads what it needs when it
runs, so that `rpcguard --help` is quick and works without extras. `base` has what all are made of.

What must always hold: a mistake of the user's is one line that names the way out, with status 2;
what failed has status 1; nothing but the answer goes to standard output.

Imports: everything but `cli`. A newcomer gets wrong: printing a traceback for a mistake of the
user's.
"""
