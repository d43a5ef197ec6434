"""Attacks on the running app: each request must cost what its size justifies, and nobody waits for another's."""
