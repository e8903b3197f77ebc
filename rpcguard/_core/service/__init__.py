"""The live list of one service: who is listed, who is out and why, who is next.

The problem: three sources speak of the same nodes (the registry, the nodes' own offline signal, the
caller's failures), from several threads, and each of them may be wrong.

The idea: one `Service` per name is the only door, and its lock the only lock. Behind it each part
keeps one kind of fact: the roster who is listed, the pools who is eligible, the blacklist who
failed, the marks who leaves. Where a node stands follows from these facts by one table
(`standing`), whatever has just changed. What the outside is to do (log, probe, close) is left in
an outbox and delivered after the lock is given back.

What must always hold: under the lock there is arithmetic only. No event is sent for what was not
done. A probe is started before anybody is told. A node that is out has an end: a time, a probe or
the registry's word.

Imports: `routing` and below. A newcomer gets wrong: calling anything of the outside while the lock
is held; a log handler may call the transport again.
"""
