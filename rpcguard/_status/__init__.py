"""A web page and a JSON document that show the live lists of a running program.

The problem: somebody who is called at night wants to see which nodes a process uses, and why not
the others, without a debugger and without an exporter.

The idea: `page` asks the transports that it was given and draws what they show; `app` puts that
into the words of ASGI and WSGI, and `server` onto a port of its own, for programs that serve no
HTTP. All loads with its first use, and only the server holds state.

What must always hold: everything from outside is escaped, the page loads nothing from elsewhere,
metadata of nodes is not shown, and long lists are cut.

Imports: `_core` and below; it knows transports only by what they show, and asks `_telemetry`, which
knows them all, for those of the process. A newcomer gets wrong: mounting it where strangers can
read it.
"""
