"""What `rpcguard nodes` does: look at a live list, now or again and again, and show it."""
