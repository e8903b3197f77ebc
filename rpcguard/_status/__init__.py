"""A web page and a JSON document that show the live lists of a running program.

The problem: somebody who is called at night wants to see which nodes a process uses, and why not
the others, without a debugger and without an exporter.

The idea: an ASGI application that asks the transports it was given and draws what they show. It
loads with its first use, and holds no state.

What must always hold: everything from outside is escaped, the page loads nothing from elsewhere,
metadata of nodes is not shown, and long lists are cut.

Imports: `_core` and below; it knows transports only by what they show. A newcomer gets wrong:
mounting it where strangers can read it.
"""
