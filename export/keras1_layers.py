"""Layers of Keras 0 and 1 that later versions have no counterpart for, as layers of ``tf_keras``.

``export/keras1.py`` names them in the descriptions that it writes. Weights have the order in which Keras 1.2 kept them.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tf_keras import activations, layers


class Keras1MaxoutDense(layers.Layer):
    """The largest of several dense layers' outputs, by feature."""

    def __init__(self, output_dim: int, nb_feature: int = 4, bias: bool = True, **options: Any) -> None:
        """Take the options of Keras 1."""
        super().__init__(**options)
        self.output_dim, self.nb_feature, self.bias = output_dim, nb_feature, bias

    def build(self, input_shape: Any) -> None:
        """Add a kernel, and a bias, for each of the dense layers."""
        self.kernels = self.add_weight("W", (self.nb_feature, input_shape[-1], self.output_dim))
        self.biases = self.add_weight("b", (self.nb_feature, self.output_dim)) if self.bias else 0.0
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map (batch, features) to (batch, output_dim)."""
        return tf.reduce_max(tf.einsum("bi,nio->bno", inputs, self.kernels) + self.biases, axis=1)


class Keras1Highway(layers.Layer):
    """A dense layer, of which a gate decides how much replaces the input."""

    def __init__(self, activation: str = "linear", bias: bool = True, **options: Any) -> None:
        """Take the options of Keras 1."""
        super().__init__(**options)
        self.activation, self.bias = activations.get(activation), bias

    def build(self, input_shape: Any) -> None:
        """Add the kernels of the layer and of the gate, then their biases."""
        size = input_shape[-1]
        self.kernel, self.gate = self.add_weight("W", (size, size)), self.add_weight("W_carry", (size, size))
        self.offsets = [self.add_weight(name, (size,)) for name in ("b", "b_carry")] if self.bias else [0.0, 0.0]
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map (batch, features) to the same shape."""
        gate = tf.sigmoid(inputs @ self.gate + self.offsets[1])
        return self.activation(inputs @ self.kernel + self.offsets[0]) * gate + (1 - gate) * inputs


class Keras1SReLU(layers.Layer):
    """A ReLU of three pieces, with a threshold and a slope on each side."""

    clips_left = False  # whether the left piece has the middle's upper bound, as under Theano

    def build(self, input_shape: Any) -> None:
        """Add thresholds and slopes for each element of a row."""
        names = ("t_left", "a_left", "t_right", "a_right")
        self.t_left, self.a_left, self.t_right, self.a_right = [self.add_weight(one, input_shape[1:]) for one in names]
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map any shape to the same."""
        width, x = tf.abs(self.t_right), inputs - self.t_left
        left = self.a_left * tf.minimum(x, 0.0)
        middle = (
            tf.minimum(tf.maximum(x, 0.0) + left, width) if self.clips_left else tf.clip_by_value(x, 0, width) + left
        )
        return self.t_left + middle + tf.nn.relu(x - width) * self.a_right


class Keras1ParametricSoftplus(layers.Layer):
    """A softplus with two weights for each element of a row."""

    def build(self, input_shape: Any) -> None:
        """Add the factors outside and inside."""
        self.alphas, self.betas = [self.add_weight(name, input_shape[1:]) for name in ("alphas", "betas")]
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map any shape to the same."""
        return self.alphas * tf.math.softplus(self.betas * inputs)


class Keras1ThresholdedLinear(layers.Layer):
    """Zero near zero."""

    def __init__(self, theta: float = 1.0, **options: Any) -> None:
        """Take the option of Keras 0."""
        super().__init__(**options)
        self.theta = theta

    def call(self, inputs: Any) -> Any:
        """Map any shape to the same."""
        return tf.where(tf.abs(inputs) < self.theta, 0.0, inputs)


class Keras1TimeDistributedMerge(layers.Layer):
    """The sum, average or product over steps."""

    def __init__(self, mode: str = "sum", **options: Any) -> None:
        """Take the option of Keras 0."""
        super().__init__(**options)
        self.reduction = {"sum": tf.reduce_sum, "ave": tf.reduce_mean, "mul": tf.reduce_prod}[mode]

    def call(self, inputs: Any) -> Any:
        """Map (batch, steps, features) to (batch, features)."""
        return self.reduction(inputs, axis=1)


class Keras1Cosine(layers.Layer):
    """The cosine of two vectors, Merge's mode ``cos``."""

    def __init__(self, as_matrix: bool, **options: Any) -> None:
        """Take whether the output is a matrix of one element, as in Keras 1, or a vector, as in Keras 0."""
        super().__init__(**options)
        self.shape_of_row = [1, 1] if as_matrix else [1]

    def build(self, input_shape: Any) -> None:
        """Check that there are two vectors."""
        if [len(shape) for shape in input_shape] != [2, 2]:
            raise ValueError(
                f"layer {self.name!r} merges with 'cos', which export supports only for two vectors per row"
            )
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map two (batch, features) to (batch, 1) or (batch, 1, 1)."""
        left, right = inputs
        lengths = tf.sqrt(tf.reduce_sum(left**2, -1) * tf.reduce_sum(right**2, -1))
        return tf.reshape(tf.reduce_sum(left * right, -1) / tf.maximum(lengths, 1e-7), [-1, *self.shape_of_row])


class Keras1Normalization(layers.Layer):
    """BatchNormalization's modes that normalize by what they are given: 1 each sample, 2 each batch."""

    def __init__(self, mode: int, axis: int, within: float, beside: float, **options: Any) -> None:
        """Take the epsilons within the root and beside it, which differed by version."""
        super().__init__(**options)
        self.mode, self.axis, self.within, self.beside = mode, axis, within, beside

    def build(self, input_shape: Any) -> None:
        """Add scale and offset, and the running mean and deviation that the file has and no mode here reads."""
        self.shape_of_weights = [1] * len(input_shape)
        self.shape_of_weights[self.axis] = size = input_shape[self.axis]
        self.gamma, self.beta, *_ = [self.add_weight(name, (size,)) for name in ("gamma", "beta", "mean", "std")]
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Map any shape to the same."""
        gamma, beta = [tf.reshape(weight, self.shape_of_weights) for weight in (self.gamma, self.beta)]
        batch = [axis for axis in range(len(inputs.shape)) if axis != self.axis % len(inputs.shape)]
        mean, variance = tf.nn.moments(inputs, [-1] if self.mode == 1 else batch, keepdims=True)
        return gamma * (inputs - mean) / (tf.sqrt(variance + self.within) + self.beside) + beta


BY_NAME = {name: value for name, value in list(globals().items()) if name.startswith("Keras1")}
