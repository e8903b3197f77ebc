"""What a transport is told before it is made, by code and by file, and while it runs.

The problem: an option that is misspelt, or of another kind than wanted, must not silently mean the
default, whether it stands in code or in a file, and in an incident nobody wants to release code.

The idea: one table says what each option takes. Code and file are checked by it and put together
before the constructor of a transport runs, which sees no difference.

What must always hold: code goes before the file, the file before the defaults; a file is taken
whole or not at all; a message names the option, the value and a right one.

Imports: `_discovery` and below. A newcomer gets wrong: a check in a constructor, which a file would
not have.
"""
