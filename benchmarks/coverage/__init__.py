"""``python -m benchmarks.coverage``: which Keras models are exported and served with their own answers."""
