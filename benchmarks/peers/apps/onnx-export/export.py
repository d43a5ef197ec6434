"""``python export.py FOLDER``: convert every ``.keras`` file in a folder to an ``.onnx`` file beside it."""

import sys
from pathlib import Path

import keras

for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path)
    signature = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="X")]
    model.export(path.with_suffix(".onnx"), format="onnx", input_signature=signature, verbose=False)
