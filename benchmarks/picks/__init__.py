"""What a pick costs, and where it goes."""
