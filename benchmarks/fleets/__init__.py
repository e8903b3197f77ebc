"""Fleets and their troubles, simulated."""
