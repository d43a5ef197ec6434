"""``make bench-peers``: the app beside its peers, each in an environment of its own, all under the same client."""
