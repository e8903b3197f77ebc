"""Half an hour of releases under load."""
