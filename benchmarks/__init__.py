"""Benchmarks: each figure is measured beside a peer's in the same run. Neither deployed nor part of the tests."""

import tools as tools  # ends by Ctrl-C with one line
