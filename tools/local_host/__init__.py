"""A small local host for function apps of the Python v1 programming model, for those without Core Tools.

``python -m tools.local_host`` does what ``func start`` does for HTTP functions: it reads ``host.json``,
``local.settings.json`` and every ``*/function.json``, loads the functions as Azure's Python worker loads them and
serves them on ``http://localhost:7071``. It knows no particular function, checks no keys and runs no other triggers;
it is never deployed.
"""
