"""Where lists come from: one module or folder per registry.

The problem: each registry has its own protocol, its own words for a node's weight, health and zone,
and its own way to be half broken.

The idea: an adapter does two things, `fetch` and where the registry can push `watch`, and turns
what it reads into `Snapshot`s. When to ask, how far to believe and what to keep is decided
elsewhere. One that has rules of calls too offers `routes`. To write one, implement `base.Registry`
and offer `from_url` under the entry-point group `rpcguard.registries`; `docs/write-a-registry.md`
goes through it.

What must always hold: *unknown* (no such service), *empty* (known, no nodes) and *not
authoritative* (may lack nodes) are told apart. An optional part of another shape never costs a
node; a bad node never costs the list; a bad answer never replaces a good list. What is read is
bounded.

Imports: `_shared`, `_rules`, `_core` and below; no adapter imports another. A newcomer gets wrong:
reporting an error as an empty list.
"""
