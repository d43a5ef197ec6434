"""Layers of Keras 3 that answer otherwise in a graph than when they are called."""

from __future__ import annotations

from typing import Any

import keras


class TimeDistributed(keras.layers.TimeDistributed):
    """Applies its layer to as many steps as the input has: Keras takes the rows for them where it does not know them.

    (``input_shape[0]`` in ``keras/src/layers/rnn/time_distributed.py`` of Keras 3.15.)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return what the layer answers for each step, by rows."""
        if inputs.shape[1] is not None:
            return super().call(inputs, training=training, mask=mask)
        options = {"mask": _steps_as_rows(mask)} if mask is not None and self.layer._call_has_mask_arg else {}
        outputs = self.layer.call(_steps_as_rows(inputs), **options)
        shape = keras.ops.shape
        return keras.ops.reshape(outputs, (-1, shape(inputs)[1], *shape(outputs)[1:]))


def _steps_as_rows(tensor: Any) -> Any:
    return keras.ops.reshape(tensor, (-1, *keras.ops.shape(tensor)[2:]))


def correct(model: Any) -> None:
    """Let the layers of a model that are wrong in a graph answer as they do when they are called."""
    for layer in model._flatten_layers():
        if type(layer) is keras.layers.TimeDistributed:
            layer.__class__ = TimeDistributed
