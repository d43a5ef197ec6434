"""Benchmarks: each figure against a peer measured in the same run. Never deployed, never part of the tests."""
