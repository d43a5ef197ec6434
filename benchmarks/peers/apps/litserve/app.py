"""LitServe with concrete functions: one API in one worker process; requests name their model."""

import os
from pathlib import Path

import litserve as ls
import numpy as np


class KerasAPI(ls.LitAPI):
    """Serves all models."""

    def setup(self, device):
        """Load the models and trace each once, for any number of rows; in the worker process."""
        import keras
        import tensorflow as tf

        self.models = {}
        for name in ("xor", "mlp"):
            model = keras.models.load_model(Path(os.environ["MODELS"]) / f"{name}.keras")
            self.models[name] = tf.function(model).get_concrete_function(tf.TensorSpec(model.input_shape, tf.float32))
        self.constant = tf.constant

    def decode_request(self, request):
        """Return the model's name and the rows."""
        return request["model"], np.array(request["instances"], np.float32)

    def predict(self, request):
        """Run the model."""
        name, rows = request
        return self.models[name](self.constant(rows)).numpy()

    def encode_response(self, labels):
        """Return what is answered as JSON."""
        return {"predictions": labels.tolist()}


if __name__ == "__main__":
    server = ls.LitServer(KerasAPI(), accelerator="cpu", timeout=60)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
