"""The doctor: checks the app before it is deployed. ``python -m tools.doctor --help``.

It is a tool of development and is not published. Only ``probe``, which runs in a process of its own, imports what
serving needs, so that the doctor works where those libraries are missing or crash.
"""
