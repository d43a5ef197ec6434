"""Engines load a SavedModel and run its signatures on NumPy arrays.

To add one, write a module here with ``is_available(options)`` and a class ``Session``, and name it in the tables below.
"""

# The files that they load.
SAVED_MODEL = "saved_model.pb"
MODEL_TFLITE = "model.tflite"

# Values of SERVING_ENGINE, and the modules that each tries in turn.
ENGINES = {
    "auto": ("litert", "tensorflow_c", "tensorflow_python"),
    "litert": ("litert",),
    "tensorflow": ("tensorflow_c", "tensorflow_python"),
    "c": ("tensorflow_c",),
    "python": ("tensorflow_python",),
}

# Why the engine of a module is not available, in an error's words.
UNAVAILABLE = {
    "litert": "LiteRT is not installed, or not in the version that was proven for it",
    "tensorflow_c": "TensorFlow's C library is not installed",
    "tensorflow_python": "TensorFlow's Python package is not installed",
}
