"""Ray Serve with concrete functions: one deployment for all models, in one replica."""

import os
from pathlib import Path

import numpy as np
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request


@serve.deployment(logging_config=LoggingConfig(enable_access_log=False))
class Keras:
    """Serves all models, each below its name."""

    def __init__(self):
        import keras
        import tensorflow as tf

        self.models = {}
        for name in ("xor", "mlp"):
            model = keras.models.load_model(Path(os.environ["MODELS"]) / f"{name}.keras")
            self.models[name] = tf.function(model).get_concrete_function(tf.TensorSpec(model.input_shape, tf.float32))
        self.constant = tf.constant

    async def __call__(self, request: Request) -> dict[str, list[list[float]]]:
        """Return the model's output for every row."""
        run = self.models[request.url.path.rpartition("/")[2]]
        rows = np.array((await request.json())["instances"], np.float32)
        return {"predictions": run(self.constant(rows)).numpy().tolist()}


if __name__ == "__main__":
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])},
        logging_config=LoggingConfig(enable_access_log=False),
    )
    serve.run(Keras.bind(), blocking=True)
