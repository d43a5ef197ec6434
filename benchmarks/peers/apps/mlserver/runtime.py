"""MLServer with concrete functions: a custom runtime that each ``model-settings.json`` names."""

import os
from pathlib import Path

import keras
import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class KerasRuntime(MLModel):
    """Serves one model."""

    async def load(self) -> bool:
        """Load the model and trace it once, for any number of rows."""
        model = keras.models.load_model(Path(os.environ["MODELS"]) / f"{self.name}.keras")
        self._run = tf.function(model).get_concrete_function(tf.TensorSpec(model.input_shape, tf.float32))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the model's output for every row."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        labels = self._run(tf.constant(rows, tf.float32)).numpy()
        outputs = [NumpyCodec.encode_output("labels", labels)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
