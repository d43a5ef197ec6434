"""Whether rows are independent is proven from the graph; what is not proven is not batched."""

from typing import Any

import pytest

from export import independence, saved_model


def dense(keras: Any, layers: Any) -> Any:
    return keras.Sequential([layers.Input((4,)), layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(2)])


def images(keras: Any, layers: Any) -> Any:
    convolutions = [layers.Conv2D(4, 3, padding="same"), layers.MaxPooling2D(), layers.Flatten()]
    return keras.Sequential([layers.Input((8, 8, 1)), *convolutions, layers.Dense(3, "softmax")])


def text(keras: Any, layers: Any) -> Any:
    return keras.Sequential(
        [layers.Input((None,)), layers.Embedding(20, 3), layers.GlobalAveragePooling1D(), layers.Dense(1)]
    )


def attention(keras: Any, layers: Any) -> Any:
    x = layers.Input((5, 8))
    return keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x))


@pytest.mark.parametrize("kind", [dense, images, text, attention])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_common_models_are_proven(tf: Any, kind: Any, library: str) -> None:
    keras = pytest.importorskip(library)

    assert independence.is_proven(tf, saved_model.trace(tf, kind(keras, keras.layers), None))


MIXED = {
    "mean over the batch": lambda tf, x: x - tf.reduce_mean(x, 0),
    "scaled by the batch's largest": lambda tf, x: x / tf.reduce_max(tf.abs(x)),
    "divided by the number of rows": lambda tf, x: x / tf.cast(tf.shape(x)[0], tf.float32),
    "reversed": lambda tf, x: tf.reverse(x, [0]),
    "sorted": lambda tf, x: tf.sort(x, 0),
    "softmax over the batch": lambda tf, x: tf.nn.softmax(x, 0),
    "the rows before": lambda tf, x: tf.cumsum(x, 0),
    "the first row for all": lambda tf, x: x - x[:1],
    "every other row": lambda tf, x: tf.repeat(x[::2], 2, 0),
    "rows by rows": lambda tf, x: tf.matmul(x, x, transpose_b=True),
    "rows and columns exchanged": lambda tf, x: tf.reshape(tf.transpose(x), tf.shape(x)),
    "rows made longer": lambda tf, x: tf.reshape(x, [-1, 2]),
    "rows put behind each other": lambda tf, x: tf.concat([x, x], 0),
    "rows looked up in the batch": lambda tf, x: tf.gather(x, tf.cast(tf.zeros_like(x[:, 0]), tf.int32)),
    "normalized in training": lambda tf, x: tf.compat.v1.nn.fused_batch_norm(
        x[:, None, None], tf.ones(4), tf.ones(4), is_training=True
    )[0][:, 0, 0],
    "batch positions by einsum": lambda tf, x: tf.einsum("bi,bj->ij", x, x),
    "as many random numbers": lambda tf, x: x + tf.random.uniform(tf.shape(x)),
    "a loop": lambda tf, x: tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y + 1), [0, x])[1],
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_may_depend_on_each_other_are_not_proven(tf: Any, name: str) -> None:
    function = tf.function(lambda x: {"y": MIXED[name](tf, x)}, autograph=False)

    assert not independence.is_proven(tf, function.get_concrete_function(tf.TensorSpec([None, 4], tf.float32)))


APART = {
    "columns": lambda tf, x: tf.concat([x[:, :1] * 2, tf.reduce_sum(x, 1, keepdims=True)], 1),
    "rows flattened": lambda tf, x: tf.reshape(tf.reshape(x, [-1, 2, 2]), [tf.shape(x)[0], 4]),
    "axes exchanged and back": lambda tf, x: tf.transpose(tf.transpose(x) * tf.ones([4, 1])),
    "a part of each row": lambda tf, x: tf.squeeze(tf.expand_dims(x, 1)[:, :, 1:3], 1),
    "parts of a row by einsum": lambda tf, x: tf.einsum("bi,ij->bj", x, tf.ones([4, 3])),
    "values of a table": lambda tf, x: tf.gather(tf.ones([9, 2]), tf.cast(x, tf.int32)),
    "one of each row": lambda tf, x: tf.one_hot(tf.argmax(x, 1), 4),
    "a constant from outside of the graph": lambda tf, x: OUTSIDE[0] / x,
    "a choice": lambda tf, x: tf.where(x > 0, x, -x),
}


OUTSIDE: list[Any] = []


@pytest.mark.parametrize("name", APART)
def test_rows_that_are_worked_on_apart_are_proven(tf: Any, name: str) -> None:
    OUTSIDE[:] = [tf.constant(2.0)]
    function = tf.function(lambda x: {"y": APART[name](tf, x)}, autograph=False)

    assert independence.is_proven(tf, function.get_concrete_function(tf.TensorSpec([None, 4], tf.float32)))
