"""Trains this project's example model: XOR, as in the 2017 article's notebook, with Keras 3."""
