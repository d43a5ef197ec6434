"""Trains the model that this project serves as its example: XOR, as in the 2017 article's notebook, with Keras 3."""
