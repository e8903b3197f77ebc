"""What the adapters share: URLs, HTTP to a cluster, bodies with bounds, JSON documents.

The problem: eleven registries need the same twenty lines, and each of these lines has been a bug
somewhere: credentials that show in a repr, gzip bombs, a list lost to one bad node in it.

The idea: each piece exists because at least two registries need it and getting it wrong once was
enough. They are small and know no registry: `urls` and `endpoint` read what a user gave, `client`
asks servers in turn, `grpc` speaks both ways, `bodies` bounds answers, `nodes` and `documents` read
them, `faults` says a fault once and not with every poll, `backoff` gives pauses that grow.

What must always hold: whatever a registry sends costs bounded memory and time, and its faults end
in `RegistryError` that names the place.

Imports: `_wire`, `_core` and below. A newcomer gets wrong: catching what a parser raises too early,
so that the line that told what was wrong is lost.
"""
