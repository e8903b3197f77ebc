"""Spans, metrics and log lines, by the API of OpenTelemetry alone.

The problem: telemetry must be complete when an SDK is there, cost nothing when none is, and never
break a call.

The idea: one CLIENT span per attempt, ended by the next thing that its call does, so that what
follows from it is still told on it. While our own span records, the instrumentation of others is
suppressed for the attempt, so there is exactly one. Without an SDK a call meets one silent object.

What must always hold: names from outside are bounded (1,000 services in metrics, then `_OTHER`);
node identity is on spans, never on metrics; secrets in URLs are redacted; what a hook of the user's
SDK raises costs the user nothing.

Imports: `_core` and below. A newcomer gets wrong: reading shared state of a node to find out what
an attempt changed; `Service.settle` returns it.
"""
