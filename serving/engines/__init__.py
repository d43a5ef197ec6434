"""Engines: what loads a SavedModel and runs its signatures on NumPy arrays.

To add one: a module here with ``is_available()`` and a class ``Session``, and a row below.
"""

# The value of SERVING_ENGINE, and the module. "auto" takes the first that is available.
ENGINES = {"c": "tensorflow_c", "python": "tensorflow_python"}
