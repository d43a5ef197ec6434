"""Plays the Azure Functions host for Microsoft's worker runtime, so that functions run as they do on Azure.

Used by the contract tests, by benchmarks and to prove a package. Needs only the standard library and, in the worker
process, ``azure_functions_runtime_v1``.
"""
