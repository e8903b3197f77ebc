"""What a call costs: beside bare httpx, beside sidecars, on many nodes, with telemetry, by key."""
