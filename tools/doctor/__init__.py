"""The doctor: looks at the app as a deployer would, before Azure does. ``python -m tools.doctor --help``.

Nothing on the way of a request imports it. It runs in development and inside a published package: all but ``probe`` do
with the standard library.
"""
