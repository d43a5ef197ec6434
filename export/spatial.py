"""Convolutions and pools of ``tf_keras`` that compute on every CPU, and as Theano did where it computed the model.

TensorFlow has most of them for channels_last only, except on CPUs for which it uses oneDNN. ``same`` padding is as many
zeros at both ends under Theano; TensorFlow puts an odd one at the end, and fewer where it strides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tf_keras import backend, layers
from tf_keras.src.layers.rnn.base_conv_lstm import ConvLSTMCell

from export.keras1_layers import Keras1SReLU

_DIMENSIONS = ("1D", "2D", "3D")


@contextmanager
def _changed(layer: Any, **attributes: Any) -> Iterator[None]:
    """Give a layer other attributes for a while, those that it has."""
    former = {key: getattr(layer, key) for key in attributes if hasattr(layer, key)}
    for key in former:
        setattr(layer, key, attributes[key])
    try:
        yield
    finally:
        for key, value in former.items():
            setattr(layer, key, value)


class _ChannelsLast:
    """Computes in channels_last; a mixin."""

    def call(self: Any, inputs: Any) -> Any:
        """Compute what the layer computes."""
        if self.data_format != "channels_first":
            return super().call(inputs)  # type: ignore[misc]
        rank = len(inputs.shape)
        last = {
            "data_format": "channels_last",
            "_channels_first": False,
            "_tf_data_format": "N" + "DHW"[5 - rank :] + "C",
        }
        activation = getattr(self, "activation", None)  # softmax goes by the last axis
        with _changed(self, activation=None, **last):
            outputs = super().call(tf.transpose(inputs, [0, *range(2, rank), 1]))  # type: ignore[misc]
        outputs = tf.transpose(outputs, [0, rank - 1, *range(1, rank - 1)])
        return activation(outputs) if activation else outputs


def _padded(inputs: Any, ends: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    return tf.pad(inputs, [(0, 0), *ends, (0, 0)], constant_values=value)


def _half(kernel_size: Sequence[int], dilation_rate: Sequence[int]) -> list[tuple[int, int]]:
    """Return Theano's padding ``half`` of each dimension, less what Keras cut off of even kernels' outputs."""
    sizes = [(kernel - 1) * rate + 1 for kernel, rate in zip(kernel_size, dilation_rate, strict=True)]
    return [(size // 2, (size - 1) // 2) for size in sizes]


class _TheanoConvolution:
    """Pads by ``same`` as Theano's convolutions; a mixin."""

    def call(self: Any, inputs: Any) -> Any:
        """Compute what the layer computed."""
        if self.padding != "same":
            return super().call(inputs)  # type: ignore[misc]
        with _changed(self, padding="valid"):
            return super().call(_padded(inputs, _half(self.kernel_size, self.dilation_rate)))  # type: ignore[misc]


class _TheanoTransposed:
    """Cuts to ``same`` as Theano's transposed convolutions; a mixin."""

    def call(self: Any, inputs: Any) -> Any:
        """Compute what the layer computed."""
        if self.padding != "same":
            return super().call(inputs)  # type: ignore[misc]
        with _changed(self, padding="valid"):
            outputs = super().call(inputs)  # type: ignore[misc]
        parts = zip(self.kernel_size, self.strides, _sizes(inputs), strict=True)
        return outputs[:, *[slice(kernel // 2, kernel // 2 + size * stride) for kernel, stride, size in parts]]


class _TheanoPool:
    """Pads by ``same`` as Theano's pools; a mixin."""

    counts_padding = False  # in an average of two dimensions

    def call(self: Any, inputs: Any) -> Any:
        """Compute what the layer computed."""
        if self.padding != "same":
            return super().call(inputs)  # type: ignore[misc]
        ends = [(size - 2 if size > 2 and size % 2 else size - 1,) * 2 for size in self.pool_size]
        is_average = "Average" in type(self).__name__
        with _changed(self, padding="valid"):
            outputs = super().call(_padded(inputs, ends, 0.0 if is_average else inputs.dtype.min))  # type: ignore[misc]
            if is_average and not self.counts_padding:
                outputs /= super().call(_padded(tf.ones_like(inputs), ends))  # type: ignore[misc]
        parts = zip(self.strides, _sizes(inputs), strict=True)
        return outputs[:, *[slice(-(-size // stride)) for stride, size in parts]]


def _sizes(inputs: Any) -> list[Any]:
    """Return the spatial sizes of channels_last images: numbers, or tensors where they vary."""
    return [size or tf.shape(inputs)[place] for place, size in enumerate(inputs.shape[1:-1], 1)]


class _Stated:
    """Has the output shape that Keras 1 let one state; a mixin."""

    def __init__(self: Any, *arguments: Any, stated_shape: Any = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stated_shape = stated_shape

    def call(self: Any, inputs: Any) -> Any:
        """Compute what the layer computes; raises ValueError where that has another shape."""
        outputs = super().call(inputs)  # type: ignore[misc]
        pairs = zip(outputs.shape[1:], (self.stated_shape or [])[1:], strict=False)
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            raise ValueError(
                f"layer {self.name!r} states output_shape {tuple(self.stated_shape)}, but its output has shape "
                f"{outputs.shape}"
            )
        return outputs


class _TheanoCell(ConvLSTMCell):
    """A cell that pads by ``same`` as Theano did, in the recurrent convolution always."""

    def __init__(self, **options: Any) -> None:
        super().__init__(rank=2, **options)

    @property
    def _conv_func(self) -> Any:
        return self._convolved

    def _convolved(self, inputs: Any, kernel: Any, padding: str, dilation_rate: Any = (1, 1), **options: Any) -> Any:
        if padding == "same":
            ends = [(0, 0), *_half(kernel.shape[:2], dilation_rate), (0, 0)]
            if self.data_format == "channels_first":
                ends = [ends[0], ends[3], *ends[1:3]]
            inputs = tf.pad(inputs, ends)
        return backend.conv2d(inputs, kernel, padding="valid", dilation_rate=dilation_rate, **options)


class _TheanoConvLSTM2D(layers.ConvLSTM2D):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cell = _TheanoCell.from_config(self.cell.get_config())  # type: ignore[has-type]


def _made(kinds: str, *mixins: type) -> dict[str, type]:
    """Return the layers of these kinds, of every dimension that there is, under their own names but with mixins."""
    names = [kind.replace("#", dimension) for kind in kinds.split() for dimension in _DIMENSIONS]
    return {name: type(name, (*mixins, getattr(layers, name)), {}) for name in names if hasattr(layers, name)}


PORTABLE = _made("Conv# SeparableConv# MaxPooling# AveragePooling#", _ChannelsLast)
PORTABLE |= _made("Conv#Transpose", _Stated, _ChannelsLast)


def theano(version: tuple[int, ...]) -> dict[str, type]:
    """Return the layers by name as Theano computed them for a version of Keras."""
    averages = _made("AveragePooling#", _ChannelsLast, _TheanoPool)
    if (2, 0, 4) <= version < (2, 1, 5):
        for name in ("AveragePooling1D", "AveragePooling2D"):
            averages[name].counts_padding = True  # type: ignore[attr-defined]
    return {
        **_made("Conv# SeparableConv# DepthwiseConv#", _ChannelsLast, _TheanoConvolution),
        **_made("Conv#Transpose", _Stated, _ChannelsLast, _TheanoTransposed),
        **_made("MaxPooling#", _ChannelsLast, _TheanoPool),
        **averages,
        "ConvLSTM2D": type("ConvLSTM2D", (_TheanoConvLSTM2D,), {}),
        "Keras1SReLU": type("Keras1SReLU", (Keras1SReLU,), {"clips_left": True}),
    }
