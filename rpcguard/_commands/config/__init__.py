"""`rpcguard config`: the options that a transport would have, and where each came from.

The problem: of defaults, a file, the environment and the switches of an incident nobody can say by
heart what is in force, and a file with a fault is to be found before it is rolled out.

The idea: the file is read and checked by the code that a transport reads it with; nothing is
connected to.

What must always hold: what is printed as in force is what a transport would go by.

Imports: the transports (`_httpx`) and below. A newcomer gets wrong: taking what a program says in
its code for something that can be seen here. `transport.settings()` shows it in the program.
"""
