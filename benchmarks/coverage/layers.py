"""Every public layer of Keras 3 and tf_keras: arguments and inputs that it is tried with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.coverage.case import Case, Tensor

VECTOR, LINE, IMAGE, CUBE, CLIP = (Tensor(shape) for shape in ((6,), (8, 3), (8, 8, 3), (6, 6, 6, 2), (4, 6, 6, 2)))
PIXELS, WORDS, INDICES = Tensor((8, 8, 3), "pixel"), Tensor((2,), "word"), Tensor((5,), "index")

# Arguments of layers; a function is called with ``keras.layers`` and returns the argument.
_Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """Layers that take the same inputs and arguments."""

    names: str
    inputs: tuple[Tensor, ...]
    arguments: _Arguments = field(default_factory=dict)


def _row(names: str, inputs: Tensor | tuple[Tensor, ...], **arguments: Any) -> Row:
    return Row(names, inputs if isinstance(inputs, tuple) else (inputs,), arguments)


ROWS = (
    _row("Activation", VECTOR, activation="gelu"),
    _row("ActivityRegularization", VECTOR, l2=0.1),
    _row("AdaptiveAveragePooling1D AdaptiveMaxPooling1D", LINE, output_size=3),
    _row("AdaptiveAveragePooling2D AdaptiveMaxPooling2D", IMAGE, output_size=3),
    _row("AdaptiveAveragePooling3D AdaptiveMaxPooling3D", CUBE, output_size=4),
    _row("Add Average Concatenate Maximum Minimum Multiply Subtract", (LINE, LINE)),
    _row("AdditiveAttention Attention", (LINE, LINE), use_scale=True),
    _row("AlphaDropout Dropout GaussianDropout", LINE, rate=0.4),
    _row("AveragePooling1D MaxPooling1D", LINE, pool_size=2, padding="same"),
    _row("UpSampling1D ZeroPadding1D Cropping1D", LINE),
    _row("AveragePooling2D MaxPooling2D", IMAGE, pool_size=2, padding="same"),
    _row("UpSampling2D ZeroPadding2D Cropping2D", IMAGE),
    _row("AveragePooling3D MaxPooling3D", CUBE, pool_size=2, padding="same"),
    _row("UpSampling3D ZeroPadding3D Cropping3D", CUBE),
    _row("BatchNormalization LayerNormalization RMSNormalization UnitNormalization", IMAGE),
    _row("Bidirectional", LINE, layer=lambda layers: layers.GRU(3, return_sequences=True)),
    _row("CategoryEncoding", INDICES, num_tokens=6),
    _row("CenterCrop RandomCrop", PIXELS, height=4, width=6),
    _row("Conv1D Conv1DTranspose SeparableConv1D", LINE, filters=4, kernel_size=3, strides=2, padding="same"),
    _row("Conv2D Conv2DTranspose SeparableConv2D", IMAGE, filters=4, kernel_size=3, strides=2, padding="same"),
    _row("Conv3D Conv3DTranspose", CUBE, filters=4, kernel_size=3, strides=2, padding="same"),
    _row("ConvLSTM1D", Tensor((4, 6, 2)), filters=3, kernel_size=3),
    _row("ConvLSTM2D", CLIP, filters=3, kernel_size=3, return_sequences=True),
    _row("ConvLSTM3D", Tensor((3, 4, 4, 4, 2)), filters=2, kernel_size=2),
    _row("CutMix MixUp", PIXELS),
    _row("Dense SimpleRNN GRU LSTM", LINE, units=4, activation="tanh"),
    _row("DenseFeatures", VECTOR, feature_columns=lambda layers: [_numeric_column()]),
    _row("DepthwiseConv1D", LINE, kernel_size=3, depth_multiplier=2),
    _row("DepthwiseConv2D", IMAGE, kernel_size=3, depth_multiplier=2),
    _row("Discretization", VECTOR, bin_boundaries=[-1.0, 0.0, 0.5]),
    _row("Dot", (LINE, LINE), axes=2),
    _row("EinsumDense", LINE, equation="abc,cd->abd", output_shape=(None, 4), bias_axes="d"),
    _row("ELU LeakyReLU PReLU ReLU Softmax ThresholdedReLU Flatten Identity Masking", LINE),
    _row("Embedding ReversibleEmbedding", INDICES, input_dim=4, output_dim=3),
    _row("GaussianNoise", LINE, stddev=0.2),
    _row("GlobalAveragePooling1D GlobalMaxPooling1D", LINE),
    _row("GlobalAveragePooling2D GlobalMaxPooling2D", IMAGE),
    _row("GlobalAveragePooling3D GlobalMaxPooling3D", CUBE),
    _row("GroupNormalization", Tensor((4, 4, 6)), groups=3),
    _row("GroupQueryAttention", (LINE, LINE), head_dim=4, num_query_heads=4, num_key_value_heads=2),
    _row("HashedCrossing", (Tensor((1,), "word"), Tensor((1,), "word")), num_bins=7),
    _row("Hashing", WORDS, num_bins=7),
    _row("IntegerLookup", INDICES, vocabulary=[2, 3, 0]),
    _row("Lambda", VECTOR, function=lambda layers: lambda x: x * 2),
    _row("LocallyConnected1D", LINE, filters=4, kernel_size=3),
    _row("LocallyConnected2D", IMAGE, filters=4, kernel_size=3),
    _row("MaxNumBoundingBoxes", PIXELS, max_number=3),
    _row("MelSpectrogram", Tensor((2048,)), sequence_stride=256, fft_length=512),
    _row("MultiHeadAttention", (LINE, LINE), num_heads=2, key_dim=4),
    _row("Normalization", VECTOR, mean=0.5, variance=2.0),
    _row("Permute", LINE, dims=(2, 1)),
    _row("Pipeline", PIXELS, layers=lambda layers: [layers.Rescaling(1 / 255), layers.CenterCrop(4, 4)]),
    _row("AugMix AutoContrast ContrastLimitedAdaptiveHistogramEqualization Equalization RandAugment", PIXELS),
    _row("RandomBrightness RandomColorDegeneration RandomContrast RandomGrayscale RandomHeight", PIXELS, factor=0.5),
    _row("RandomHue RandomInvert RandomRotation RandomSaturation RandomSharpness RandomWidth", PIXELS, factor=0.5),
    _row("RandomPosterization", PIXELS, factor=3),
    _row("RandomColorJitter RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur", PIXELS),
    _row("RandomPerspective RandomShear Solarization", PIXELS),
    _row("RandomTranslation RandomZoom", PIXELS, height_factor=0.2, width_factor=0.2),
    _row("RepeatVector", VECTOR, n=3),
    _row("Rescaling", PIXELS, scale=1 / 127.5, offset=-1),
    _row("Reshape", LINE, target_shape=(4, -1)),
    _row("Resizing", PIXELS, height=5, width=11),
    _row("RNN", LINE, cell=lambda layers: [layers.GRUCell(3), layers.LSTMCell(4)]),
    _row("SpatialDropout1D", LINE, rate=0.4),
    _row("SpatialDropout2D", IMAGE, rate=0.4),
    _row("SpatialDropout3D", CUBE, rate=0.4),
    _row("SpectralNormalization TimeDistributed", LINE, layer=lambda layers: layers.Dense(4)),
    _row("STFTSpectrogram", Tensor((2048, 1)), frame_step=128, window=None),
    _row("StringLookup", WORDS, vocabulary=["fox", "the", "quick"]),
    _row("TextVectorization", Tensor((1,), "word"), vocabulary=["fox", "the", "quick"], output_sequence_length=5),
)  # fmt: skip

# Layers that are an argument of another, instead of being called.
CELLS: dict[str, Callable[[Any], Any]] = {
    "GRUCell": lambda layers: layers.GRUCell(3),
    "LSTMCell": lambda layers: layers.LSTMCell(3),
    "SimpleRNNCell": lambda layers: layers.SimpleRNNCell(3),
    "StackedRNNCells": lambda layers: layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)]),
}

# Calls that are not layer(input) or layer([input, ...]).
_CALLS: dict[str, Callable[..., Any]] = {
    "DenseFeatures": lambda layer, a: layer({"a": a}),
    "GroupQueryAttention": lambda layer, a, b: layer(a, b),
    "MultiHeadAttention": lambda layer, a, b: layer(a, b),
}

NOT_TRIED = {
    "AbstractRNNCell": "a base class",
    "FlaxLayer": "needs JAX, and holds its code",
    "InputLayer": "part of every model here",
    "InputSpec": "not a layer",
    "JaxLayer": "needs JAX, and holds its code",
    "Layer": "a base class",
    "TFSMLayer": "refers to another SavedModel by its path, and is refused",
    "TorchModuleWrapper": "needs PyTorch, and holds its code",
    "Wrapper": "a base class",
}


def _numeric_column() -> Any:
    import tensorflow as tf

    return tf.feature_column.numeric_column("a", VECTOR.shape)


def aliases(keras: Any) -> dict[str, list[str]]:
    """Return the public names of each layer class, by the first of them that is the class's own."""
    names: dict[type, list[str]] = {}
    for name, value in vars(keras.layers).items():
        if inspect.isclass(value):
            names.setdefault(value, []).append(name)
    return {own.__name__ if own.__name__ in found else found[0]: sorted(found) for own, found in names.items()}


def cases(keras: Any) -> dict[str, Case | str]:
    """Return a case for each layer, or the reason that there is none."""
    rows = {name: row for row in ROWS for name in row.names.split()}
    found: dict[str, Case | str] = {}
    for name in sorted(aliases(keras)):
        if name in CELLS:
            found[name] = Case(partial(_model, "RNN", (LINE,), {"cell": CELLS[name]}), (LINE,))
        elif name in rows:
            row = rows[name]
            found[name] = Case(partial(_model, name, row.inputs, row.arguments), row.inputs)
        else:
            found[name] = NOT_TRIED.get(name, "missing in the table of benchmarks/coverage/layers.py")
    return found


def _model(name: str, inputs: tuple[Tensor, ...], arguments: _Arguments, keras: Any) -> Any:
    given = {key: value(keras.layers) if callable(value) else value for key, value in arguments.items()}
    layer = getattr(keras.layers, name)(**given)
    tensors = [tensor.input(keras, chr(ord("a") + index)) for index, tensor in enumerate(inputs)]
    given_to = tensors if len(tensors) > 1 else tensors[0]
    return keras.Model(given_to, _CALLS[name](layer, *tensors) if name in _CALLS else layer(given_to))
