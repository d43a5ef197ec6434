"""``make bench-peers``: this app and its peers, each in its own environment, under the same client."""
