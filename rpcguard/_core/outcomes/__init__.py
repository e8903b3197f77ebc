"""What one answer or exception means, for the call and for the node.

Four questions are asked of whatever came back: was the request processed, whose fault is it, what
does the node say of itself, and may the call go again? The answers are one `Verdict`.

The idea: safety is a table, not a feeling. *Unsent* (the connection was never made; HTTP/2 refused
the stream, or said GOAWAY below it, RFC 9113 §6.8 and §8.7) may go again whatever the method.
*Possibly processed* may go again only where running it twice is harmless (RFC 9110 §9.2.2). An
answer below 500 is an answer. Blame goes by stage: a connect, a TLS handshake, HTTP.

What must always hold: nothing is called unsent on a guess. Classes are known by name along their
ancestry, so that httpx and httpx2 are judged by one table and neither is imported. Headers come
from strangers: each reader bounds what it takes and raises nothing.

Imports: `nodes` only. A newcomer gets wrong: judging by the exception's type alone, where its cause
says more.
"""
