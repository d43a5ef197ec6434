"""Common combinations of layers, operators on tensors, and the architectures of ``keras.applications``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.coverage.case import Case, Tensor
from export.safety import Trust

_LINE, _IMAGE, _VECTOR = Tensor((8, 3)), Tensor((16, 16, 3)), Tensor((6,))
_DATA = np.linspace(-2, 3, 18).reshape(3, 6) ** 3  # each column of another variance
_TEXT = ["the quick fox", "a quick dog", "the the a"]


def _several(keras: Any, a: Any, b: Any) -> Any:
    joined = keras.layers.concatenate([keras.layers.Dense(4)(a), keras.layers.LSTM(3)(b)])
    return [keras.layers.Dense(2, name="first")(joined), keras.layers.Dense(3, "softmax", name="second")(joined)]


def _nested(keras: Any, a: Any) -> Any:
    inner = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.BatchNormalization()], name="inner")
    outer = keras.Input((6,))
    middle = keras.Model(outer, inner(outer) + 1.0, name="middle")
    return keras.layers.Dense(2)(middle(a))


def _transfer(keras: Any, a: Any) -> Any:
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    base.trainable = False
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(keras.layers.RandomFlip("horizontal")(a))
    features = keras.layers.GlobalAveragePooling2D()(base(scaled, training=False))
    return keras.layers.Dense(3, "softmax")(keras.layers.Dropout(0.2)(features))


def _shared(keras: Any, a: Any, b: Any) -> Any:
    dense, norm = keras.layers.Dense(4, "tanh"), keras.layers.BatchNormalization()
    return keras.layers.Dot(1, normalize=True)([norm(dense(a)), norm(dense(b))])


def _wrapped(keras: Any, a: Any) -> Any:
    x = keras.layers.TimeDistributed(keras.layers.Conv1D(2, 3))(a)
    x = keras.layers.TimeDistributed(keras.layers.Flatten())(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True), merge_mode="sum")(x)
    return keras.layers.TimeDistributed(keras.layers.Dense(2))(x)


def _bidirectional(keras: Any, a: Any) -> Any:
    forward, backward = keras.layers.GRU(3), keras.layers.LSTM(2, go_backwards=True)
    return keras.layers.Bidirectional(forward, backward_layer=backward)(a)


def _cells(keras: Any, a: Any) -> Any:
    cells = keras.layers.StackedRNNCells([keras.layers.LSTMCell(3), keras.layers.GRUCell(2)])
    return keras.layers.RNN(cells, return_sequences=True, return_state=False)(a)


def _states(keras: Any, a: Any) -> Any:
    _, hidden, cell = keras.layers.LSTM(4, return_state=True)(a)
    return keras.layers.LSTM(4, return_sequences=True)(a, initial_state=[hidden, cell])


def _masking(keras: Any, a: Any) -> Any:
    x = keras.layers.Embedding(4, 3, mask_zero=True)(a)
    x = keras.layers.LSTM(4, return_sequences=True)(x)
    return keras.layers.Bidirectional(keras.layers.GRU(2))(x)


def _attention(keras: Any, a: Any) -> Any:
    x = keras.layers.Dense(8)(a)
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
        x = keras.layers.LayerNormalization()(keras.layers.add([x, attended]))
        x = keras.layers.add([x, keras.layers.Dense(8, "gelu")(x)])
    return keras.layers.GlobalAveragePooling1D()(x)


def _residual(keras: Any, a: Any) -> Any:
    x = a
    for filters in (4, 8):
        y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        y = keras.layers.ReLU(max_value=6.0)(keras.layers.BatchNormalization()(y))
        x = keras.layers.MaxPooling2D()(keras.layers.add([y, keras.layers.Conv2D(filters, 1)(x)]))
    return keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x))


def _unet(keras: Any, a: Any) -> Any:
    down = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu")(a)
    up = keras.layers.Conv2DTranspose(3, 3, 2, padding="same")(down)
    up = keras.layers.concatenate([a, up, keras.layers.UpSampling2D(interpolation="bilinear")(down)])
    return keras.layers.Conv2D(1, 1, activation="sigmoid")(up)


def _numbers(keras: Any, a: Any) -> Any:
    layer = keras.layers.Normalization()
    layer.adapt(_DATA)
    buckets = keras.layers.Discretization(num_bins=4)
    buckets.adapt(_DATA)
    return keras.layers.concatenate([layer(a), keras.layers.Embedding(5, 2)(buckets(a))[:, :, 0]])


def _text(mode: str, keras: Any, a: Any) -> Any:
    layer = keras.layers.TextVectorization(output_mode=mode)
    layer.adapt(_TEXT)
    return layer(a)


def _lookup(name: str, mode: str, keras: Any, a: Any) -> Any:
    layer = getattr(keras.layers, name)(output_mode=mode)
    layer.adapt(["the", "fox", "the", "quick"] if name == "StringLookup" else [3, 1, 1, 2])
    return layer(a)


def _functional(body: Callable[..., Any], inputs: tuple[Tensor, ...], keras: Any) -> Any:
    tensors = [tensor.input(keras, chr(ord("a") + index)) for index, tensor in enumerate(inputs)]
    return keras.Model(tensors if len(tensors) > 1 else tensors[0], body(keras, *tensors))


def _sequential(*layers: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a builder of a Sequential that learns its input's shape by being called on one row."""

    def build(keras: Any) -> Any:
        model = keras.Sequential([layer(keras.layers) for layer in layers])
        model(np.zeros((1, 6), np.float32))
        return model

    return build


def _dict_inputs(keras: Any) -> Any:
    inputs = {name: keras.Input((3,), name=name) for name in ("a", "b")}
    x = keras.layers.concatenate([inputs["b"], inputs["a"]])
    return keras.Model(inputs, {"first": keras.layers.Dense(2)(x), "second": keras.layers.Dense(1)(x)})


def _mixed(keras: Any) -> Any:
    before = keras.mixed_precision.global_policy() if hasattr(keras, "mixed_precision") else None
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        a = keras.Input((6,), name="a")
        x = keras.layers.BatchNormalization()(keras.layers.Dense(4, "relu")(a))
        return keras.Model(a, keras.layers.Activation("softmax", dtype="float32")(keras.layers.Dense(3)(x)))
    finally:
        keras.mixed_precision.set_global_policy(before or "float32")


def _stateful(keras: Any) -> Any:
    a = keras.Input((8, 3), batch_size=1, name="a")
    return keras.Model(a, keras.layers.LSTM(4, stateful=True)(a))


def _own_classes(keras: Any) -> dict[str, Any]:
    class Scaled(keras.layers.Layer):
        def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "factor": self.factor}

    class Net(keras.Model):
        def __init__(self, units: int = 4, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.hidden = keras.layers.Dense(units, "relu")
            self.last = keras.layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.last(self.hidden(inputs))

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units}

    return {"Scaled": Scaled, "Net": Net}


_OWN: dict[str, dict[str, Any]] = {}


def _own(name: str, keras: Any) -> Any:
    """Build a model of an owner's classes; the trust of its case is filled with them."""
    _OWN.setdefault(name, {}).update(_own_classes(keras))
    if name == "layer":
        return _functional(lambda keras, a: _OWN[name]["Scaled"](3.0)(a), (_VECTOR,), keras)
    model = _OWN[name]["Net"](5)
    model(np.zeros((1, 6), np.float32))
    return model


def combinations(keras: Any) -> dict[str, Case | str]:
    """Return models as people build them."""
    functional: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
        "several inputs and outputs": (_several, (_VECTOR, _LINE)),
        "models in models": (_nested, (_VECTOR,)),
        "transfer learning": (_transfer, (Tensor((32, 32, 3), "pixel"),)),
        "shared layers": (_shared, (_LINE, _LINE)),
        "wrappers in each other": (_wrapped, (Tensor((4, 8, 3)),)),
        "Bidirectional of two kinds": (_bidirectional, (_LINE,)),
        "stacked cells": (_cells, (_LINE,)),
        "initial states": (_states, (_LINE,)),
        "masking": (_masking, (Tensor((7,), "index"),)),
        "transformer": (_attention, (_LINE,)),
        "residual convolutions": (_residual, (_IMAGE,)),
        "U-Net": (_unet, (_IMAGE,)),
        "adapted numbers": (_numbers, (_VECTOR,)),
        "images of bytes": (lambda keras, a: keras.layers.Resizing(5, 7)(a), (Tensor((8, 8, 3), "byte"),)),
        **{
            f"adapted text, {mode}": (partial(_text, mode), (Tensor((1,), "word"),))
            for mode in ("int", "multi_hot", "tf_idf")
        },
        **{
            f"adapted {name}, {mode}": (partial(_lookup, name, mode), (Tensor((4,), kind),))
            for name, kind in (("StringLookup", "word"), ("IntegerLookup", "index"))
            for mode in ("int", "count")
        },
    }
    found = {name: Case(partial(_functional, body, inputs), inputs) for name, (body, inputs) in functional.items()}
    dense: Callable[[Any], Any] = lambda layers: layers.Dense(4, "relu")  # noqa: E731
    found |= {
        "dict inputs and outputs": Case(_dict_inputs, (Tensor((3,)), Tensor((3,)))),
        "mixed precision": Case(_mixed, (_VECTOR,)),
        "stateful": Case(_stateful, (_LINE,), batches=(1,)),
        "Sequential called on one row": Case(_sequential(dense, lambda layers: layers.Dense(2)), (_VECTOR,)),
        "own layer": Case(partial(_own, "layer"), (_VECTOR,), trust=Trust(custom_objects=_OWN.setdefault("layer", {}))),
        "own model": Case(partial(_own, "model"), (_VECTOR,), trust=Trust(custom_objects=_OWN.setdefault("model", {}))),
    }
    return {**found}


_SIZES = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}


def applications(keras: Any) -> dict[str, Case | str]:
    """Return every architecture of ``keras.applications`` with random weights, at the smallest image that it takes."""
    names = [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]
    return {name: _application(name) for name in sorted(names)}


def _application(name: str) -> Case:
    size = _SIZES.get(name, 32)

    def build(keras: Any) -> Any:
        return getattr(keras.applications, name)(
            weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
        )

    return Case(build, (Tensor((size, size, 3), "pixel"),), (".keras",), largest=1e-4)
