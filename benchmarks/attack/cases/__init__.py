"""The cases, by theme: a module has a list ``CASES``."""

from benchmarks.attack.cases import bodies, loading, running

CASES = [*bodies.CASES, *loading.CASES, *running.CASES]
