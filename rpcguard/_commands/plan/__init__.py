"""`rpcguard plan-release`: how many nodes of a service may be restarted at once.

The command gathers what a plan is made from (the live list of a registry, a program's status page,
or figures on the command line), has it made by `_planning`, and writes it down: as a table, as
JSON, or as a page that stands alone.

What must always hold: each figure says whether it was simulated or computed; the exit status tells
whether there is a plan; nothing is restarted.

Imports: `_planning` and below, the sources of `nodes` and the drawing of `demo`. A newcomer gets
wrong: judging in the printer. What is in bounds is decided in the plan.
"""
