"""Engines load a SavedModel and run its signatures on NumPy arrays.

To add one, write a module here with ``is_available(options)`` and a class ``Session``, and name it in the rows below.
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
