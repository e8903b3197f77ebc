"""What tests of callers need: a clock and a registry that do what they are told, faults, mocks.

The problem: a program that survives releases and crashes is to be shown to do so, without the
servers of a registry, without waiting, and without luck.

The idea: `ManualClock` and `ScriptedRegistry` stand where the real ones would, and change when the
test says so; `faults` comes between the transports of a process and its nodes, and hurts one
attempt in so many, counted and not drawn, so that a test that fails fails again; `mocked` steps
aside for those who mock httpx itself.

What must always hold: a call sees a change as soon as the method that made it has returned; what
`faults` and `mocked` do ends with their block; nothing here is loaded by a program that does not
ask for it.

Imports: anything below the commands. A newcomer gets wrong: expecting a mock to have a latency.
"""

from rpcguard._public import adopt
from rpcguard.testing.clock import ManualClock
from rpcguard.testing.faults import Faults, faults
from rpcguard.testing.mocks import mocked
from rpcguard.testing.registry import ScriptedRegistry

__all__ = ["Faults", "ManualClock", "ScriptedRegistry", "faults", "mocked"]

for _name in __all__:
    adopt(__name__, globals()[_name])
