"""One file per registry; `base` holds what they share."""
