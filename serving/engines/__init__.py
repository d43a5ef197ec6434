"""Engines load a SavedModel and run its signatures on NumPy arrays.

To add one, write a module here with ``is_available()`` and a class ``Session``, and add a row below.
"""

# Values of SERVING_ENGINE and their modules. "auto" is the first that is available.
ENGINES = {"c": "tensorflow_c", "python": "tensorflow_python"}
