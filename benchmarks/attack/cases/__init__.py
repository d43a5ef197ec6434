"""The cases, by theme: a module has a list ``CASES``."""

from benchmarks.attack.cases import loading, running

CASES = [*loading.CASES, *running.CASES]
