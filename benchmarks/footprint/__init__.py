"""Memory, threads and imports."""
