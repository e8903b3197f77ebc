"""What users set: frozen values, checked when they are made, and nothing that changes.

The problem: an option that is misspelt, out of range or of the wrong kind must fail at once, with
its name and the value that was given, not at three in the morning in the branch that reads it.

The idea: one frozen dataclass per concern, keyword-only, slotted; each field documented where it
stands: its unit, what it does and why this default. What a policy can say by itself (how long is
the nth ejection, what is a ramp at this age) is a pure method here; the mechanism that remembers
anything lives in `_core/service`.

What must always hold: a policy is never changed, never reads a clock, and can be shared by any
number of transports and threads. Times are seconds, shares are 0 to 1.

Imports: `nodes` and `balancing` for their words, and `_context`. A newcomer gets wrong: putting a
counter here because it is about the same subject.
"""
