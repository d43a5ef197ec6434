"""Plays the Azure Functions host for Microsoft's own worker runtime: the app's functions, run as Azure runs them.

For the contract tests, the benchmarks and the proof of a package. Needs nothing but the standard library, and, in the
worker process, ``azure_functions_runtime_v1``.
"""
