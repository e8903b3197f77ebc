"""How soon a change in a registry reaches a caller."""
