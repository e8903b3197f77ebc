"""A node as it is listed, as it is known, and as it is shown.

Three forms of one thing. `Node` and `Snapshot` are what a registry says: immutable values, safe to
share, pickle and compare. `LiveNode` is what this process has learned of a node since: load,
failures, ramp, where it stands. `NodeView` and `ServiceView` are copies for people and programs
that look at it from outside.

The idea: `LiveNode` is one flat object with slots, because every pick reads it; nothing on the
path of a call looks anything up in a dictionary of its own. The price is that many rooms could
write to it, so each field has one owner, named in the class's docstring, and a test holds that no
other file assigns it.

What must always hold: a `LiveNode` lives under the lock of its service and never leaves it; what
leaves is a view or a lease. Statistics survive a refresh of the list; a new generation starts
fresh.

Imports: nothing of the other rooms. A newcomer gets wrong: keeping a `LiveNode` beyond its
service, or comparing nodes by address where the id is what names them.
"""
