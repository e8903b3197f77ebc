"""What the adapters share: URLs, HTTP to a cluster, bodies with bounds, JSON documents.

Each piece exists because at least two registries need it and getting it wrong once was enough:
credentials that never show in a repr, servers asked in turn, answers that are too long, gzip bombs,
streams that fall silent, lists with one bad node among good ones.

Imports: `_core` and below. A newcomer gets wrong: catching what a parser raises too early, so that
the line that told what was wrong is lost.
"""
