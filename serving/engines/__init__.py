"""Engines: what loads a SavedModel and runs its signatures on NumPy arrays."""
