"""The subcommands of `rpcguard`, a folder for each.

The command line itself (`cli`) only parses; each subcommand loads what it needs when it runs, so
that `rpcguard --help` is quick and works without extras.

Imports: everything but `cli`. A newcomer gets wrong: printing a traceback for a mistake of the
user's; such a mistake is one line that names the way out.
"""
