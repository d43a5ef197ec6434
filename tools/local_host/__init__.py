"""A small local host for function apps of the Python v1 programming model, for machines without Core Tools.

``python -m tools.local_host`` does what ``func start`` does for HTTP functions. It reads ``host.json``,
``local.settings.json`` and every ``*/function.json``, loads the functions as Azure's Python worker does and serves them
on ``http://localhost:7071``. It checks no keys and runs no other triggers.
"""
