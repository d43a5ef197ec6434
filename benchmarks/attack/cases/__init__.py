"""The cases, by theme: a module has a list ``CASES``."""

from benchmarks.attack.cases import bodies, loading, running, traffic

CASES = [*bodies.CASES, *loading.CASES, *running.CASES, *traffic.CASES]
