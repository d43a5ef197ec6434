"""Trains this project's example model: XOR, as in the 2017 article's notebook, with Keras 3."""

import tools as tools  # ends by Ctrl-C with one line
