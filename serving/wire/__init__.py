"""Wire formats: pure functions that turn request bytes into arrays, and arrays into response bytes."""
