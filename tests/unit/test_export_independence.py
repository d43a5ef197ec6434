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


def recurrent(keras: Any, layers: Any) -> Any:
    inner = [layers.Embedding(20, 3, mask_zero=True), layers.Bidirectional(layers.LSTM(4, return_sequences=True))]
    return keras.Sequential([layers.Input((None,)), *inner, layers.GRU(4), layers.Dense(1)])


def films(keras: Any, layers: Any) -> Any:
    return keras.Sequential([layers.Input((3, 5, 5, 1)), layers.ConvLSTM2D(2, 2), layers.Flatten(), layers.Dense(1)])


@pytest.mark.parametrize("kind", [dense, images, text, attention, recurrent, films])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_common_models_are_proven(tf: Any, kind: Any, library: str) -> None:
    keras = pytest.importorskip(library)

    assert independence.is_proven(tf, saved_model.trace(tf, kind(keras, keras.layers), None))


def _loop(tf: Any, x: Any, turns: Any, turn: Any) -> Any:
    return tf.while_loop(lambda i, y: i < turns, lambda i, y: (i + 1, turn(i, y)), [0, x])[1]


def _stacked(tf: Any, values: list[Any]) -> Any:
    """Return values on top of each other, by way of a list."""
    ops = tf.raw_ops
    tensors = ops.TensorListReserve(element_shape=[-1, -1], num_elements=len(values), element_dtype=tf.float32)
    for index, value in enumerate(values):
        tensors = ops.TensorListSetItem(input_handle=tensors, index=index, item=value)
    return ops.TensorListStack(input_handle=tensors, element_shape=[-1, -1], element_dtype=tf.float32)[0]


def _with_shape(tensor, shape):
    tensor.set_shape(shape)
    return tensor


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
    "parts of rows left apart": lambda tf, x: tf.reshape(tf.tanh(tf.reshape(x, [-1, 2])), [-1, 1, 2])[:, 0],
    "parts of rows reversed": lambda tf, x: tf.reshape(tf.reverse(tf.reshape(x, [-1, 2]), [0]), [-1, 4]),
    "parts of rows beside whole ones": lambda tf, x: tf.reshape(
        tf.reshape(x, [-1, 2]) + tf.reshape(tf.reshape(x, [-1, 1]), [-1, 2]) * tf.ensure_shape(x[:, :2], [1, 2]),
        [-1, 4],
    ),
    "parts of rows on another axis": lambda tf, x: tf.transpose(tf.transpose(tf.reshape(x, [-1, 2]))),
    "a shape that is not true": lambda tf, x: _with_shape(tf.reshape(x, [-1, 2 * tf.shape(x)[0]]), [None, 4]),
    "three rows only": lambda tf, x: tf.reshape(x, [3, 4]),
    "parts that do not divide a row": lambda tf, x: tf.reshape(tf.tanh(tf.reshape(x, [-1, 3])), [-1, 4]),
    "rows put behind each other": lambda tf, x: tf.concat([x, x], 0),
    "rows looked up in the batch": lambda tf, x: tf.gather(x, tf.cast(tf.zeros_like(x[:, 0]), tf.int32)),
    "normalized in training": lambda tf, x: tf.compat.v1.nn.fused_batch_norm(
        x[:, None, None], tf.ones(4), tf.ones(4), is_training=True
    )[0][:, 0, 0],
    "batch positions by einsum": lambda tf, x: tf.einsum("bi,bj->ij", x, x),
    "as many random numbers": lambda tf, x: x + tf.random.uniform(tf.shape(x)),
    "a turn for each row": lambda tf, x: _loop(tf, x, tf.shape(x)[0], lambda i, y: y * 2),
    "turns until all rows are large": lambda tf, x: tf.while_loop(
        lambda y: tf.reduce_any(y < 9), lambda y: [y + 1], [x]
    )[0],
    "a loop that sorts": lambda tf, x: _loop(tf, x, 2, lambda i, y: tf.sort(y, 0)),
    "a loop that exchanges axes": lambda tf, x: tf.reshape(
        _loop(tf, x[..., None], 2, lambda i, y: tf.reshape(tf.transpose(y, [1, 0, 2]), tf.shape(y))), [-1, 4]
    ),
    "a list of rows": lambda tf, x: tf.raw_ops.TensorListStack(
        input_handle=tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=[4]),
        element_shape=[4],
        element_dtype=tf.float32,
    ),
    "rows in two places of a list": lambda tf, x: _stacked(tf, [x, tf.transpose(x)]),
    "a function that mixes": lambda tf, x: tf.function(lambda y: y - tf.reduce_mean(y, 0))(x),
    "random numbers in a function": lambda tf, x: x + tf.function(lambda: tf.random.uniform([1, 4]))(),
    "random numbers of a distribution": lambda tf, x: x + tf.random.truncated_normal([1, 4]),
    "random numbers in a branch": lambda tf, x: x + tf.cond(
        tf.constant([True])[0], lambda: tf.random.uniform([1, 4]), lambda: tf.zeros([1, 4])
    ),
    "three rows at once": lambda tf, x: x + tf.ensure_shape(x, [3, 4]),
    "shapes that are not equal": lambda tf, x: tf.raw_ops.Equal(
        x=x, y=tf.tile(x, [1, 2]), incompatible_shape_error=False
    ),
    "split along the rows": lambda tf, x: tf.concat(tf.split(tf.concat([x, x], 0), 2, 0), 1)[:, :4],
    "unstacked along the rows": lambda tf, x: x + tf.unstack(tf.ensure_shape(x, [3, 4]))[0],
    "filled by the number of rows": lambda tf, x: x * tf.cast(tf.fill([4], tf.shape(x)[0]), tf.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_rows_that_may_depend_on_each_other_are_not_proven(tf: Any, name: str) -> None:
    function = tf.function(lambda x: {"y": MIXED[name](tf, x)}, autograph=False)

    assert not independence.is_proven(tf, function.get_concrete_function(tf.TensorSpec([None, 4], tf.float32)))


def _part(tf: Any, x: Any, **arguments: Any) -> Any:
    """Return a slice as the operation takes it: with masks that TensorFlow's own functions don't write."""
    return tf.raw_ops.StridedSlice(input=x, **arguments)


def _parts_of_another_function(tf: Any, x: Any, y: Any) -> Any:
    """The sizes of two tensors of the same name, one in each function, differ."""
    every_other = tf.raw_ops.StridedSlice(
        input=x, begin=[0, 0], end=[0, 0], strides=[1, 2], begin_mask=3, end_mask=3, name="same"
    )
    inner = tf.function(lambda parts, y: tf.reshape(parts, [-1, tf.shape(y)[1]], name="same"), autograph=False)
    return tf.reduce_sum(inner(tf.reshape(every_other, [-1]), y), 1)


def _deviation_by_way_of_a_variable(tf: Any, x: Any) -> Any:
    VARIABLES[:] = VARIABLES or [tf.Variable([[0.0]], shape=[None, None])]
    VARIABLES[0].assign(x)
    return x - tf.reduce_mean(VARIABLES[0].read_value(), 0)


def _sum_of_pairs(tf: Any, x: Any, size: Any) -> Any:
    return tf.reduce_sum(tf.reshape(tf.reshape(x, [-1, 1]), [-1, size, 1]), [1, 2])


VARIABLES: list[Any] = []
MATRICES = [[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]]

MIXED_STEPS = {
    "parts of rows put together by another function's sizes": _parts_of_another_function,
    "a size modulo 256": lambda tf, x, y: _sum_of_pairs(tf, x, tf.cast(tf.cast(tf.shape(x)[1], tf.uint8), tf.int32)),
    "sizes multiplied over no axis": lambda tf, x, y: _sum_of_pairs(
        tf,
        tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 1]) * [1.0, 2.0],
        tf.gather(tf.reduce_prod(tf.stack([tf.shape(x)[1], 2]), []), 0),
    ),
    "the number of rows, by a mask of another axis": lambda tf, x, y: (
        x * tf.cast(_part(tf, tf.shape(x), begin=[1], end=[1], strides=[1], begin_mask=1, shrink_axis_mask=2), x.dtype)
    ),
    "rows reversed behind a mask of no axis": lambda tf, x, y: _part(
        tf, x, begin=[0, 0, 0], end=[0, 0, 0], strides=[1, -1, 1],
        begin_mask=6, end_mask=6, ellipsis_mask=1, new_axis_mask=8,
    ),
    "chosen by the position in the batch": lambda tf, x, y: tf.raw_ops.Select(
        condition=tf.constant([True, False, True]), x=x, y=-x
    ),
    "columns chosen by rows": lambda tf, x, y: tf.transpose(
        tf.raw_ops.Select(condition=x[:, 0] > 0, x=tf.transpose(x), y=-tf.transpose(x))
    ),
    "a matrix for each position in the batch": lambda tf, x, y: tf.matmul(
        x[:, None], tf.ensure_shape(tf.constant(MATRICES), [None, 1, 2])
    ),
    "the diagonal": lambda tf, x, y: tf.einsum("bb->b", x),
    "values of unknown rank": lambda tf, x, y: tf.raw_ops.Equal(
        x=tf.ensure_shape(x, [None, 4]), y=y, incompatible_shape_error=False
    ),
    "a row for each two": lambda tf, x, y: tf.reduce_mean(
        tf.raw_ops.Einsum(inputs=[x], equation="bi->bib"), 2
    ),
    "a product that sums over rows": lambda tf, x, y: x + tf.transpose(
        tf.matmul(tf.transpose(x), tf.ensure_shape(tf.constant([[1.0], [2.0], [3.0]]), [None, 1]))
    ),
    "the means of a normalization": lambda tf, x, y: tf.raw_ops.FusedBatchNorm(
        x=x[:, None, None], scale=[1.0], offset=[0.0], mean=[0.0], variance=[1.0], is_training=False
    ).batch_mean,
    "a shape that is not true, by a size": lambda tf, x, y: x + tf.reduce_sum(
        _with_shape(tf.reshape(tf.ensure_shape(x, [None, 4]), [tf.shape(y)[1], -1]), [None, 4]), 1, keepdims=True
    ),
    "a number of each two sizes": lambda tf, x, y: x * tf.einsum("i,i->", *[tf.cast(tf.shape(x), x.dtype)] * 2),
    "as many rows as columns": lambda tf, x, y: tf.fill(tf.shape(x)[1:2], 1.0),
    "a variable": lambda tf, x, y: _deviation_by_way_of_a_variable(tf, x),
    "pictures as large as the batch": lambda tf, x, y: tf.nn.conv2d_transpose(
        x[:, None, :1, None],
        tf.ones([1, 1, 1, 1]), tf.stack([tf.shape(x)[0], 1, 1 + tf.minimum(tf.shape(x)[0] - 1, 1), 1]), 2, "VALID",
    ),
    "as many pictures as columns": lambda tf, x, y: tf.nn.conv2d_transpose(
        x[:, None, :1, None], tf.ones([1, 1, 1, 1]), tf.stack([tf.shape(y)[1], 1, 1, 1]), 1
    ),
    "a bias by the position in the batch": lambda tf, x, y: tf.transpose(
        tf.nn.bias_add(tf.transpose(x)[..., None], [1.0, 2.0, 3.0], "NCHW")[..., 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED_STEPS)
def test_rows_of_any_length_that_may_depend_on_each_other_are_not_proven(tf: Any, name: str) -> None:
    VARIABLES.clear()
    function = tf.function(lambda x, y: {"y": MIXED_STEPS[name](tf, x, y)}, autograph=False)

    spec = tf.TensorSpec([None, None], tf.float32)
    assert not independence.is_proven(tf, function.get_concrete_function(spec, spec))


APART = {
    "columns": lambda tf, x: tf.concat([x[:, :1] * 2, tf.reduce_sum(x, 1, keepdims=True)], 1),
    "rows flattened": lambda tf, x: tf.reshape(tf.reshape(x, [-1, 2, 2]), [tf.shape(x)[0], 4]),
    "parts of rows": lambda tf, x: tf.reshape(tf.nn.softmax(tf.reshape(x, [-1, 2])) + tf.ones(2), [-1, 4]),
    "a dense layer for each part": lambda tf, x: tf.tensordot(tf.reshape(x, [-1, 2, 2]), tf.ones([2, 3]), 1)[:, 0],
    "axes exchanged and back": lambda tf, x: tf.transpose(tf.transpose(x) * tf.ones([4, 1])),
    "axes exchanged and back, counted from the last": lambda tf, x: tf.transpose(tf.transpose(x), [-1, -2]),
    "a part of each row": lambda tf, x: tf.squeeze(tf.expand_dims(x, 1)[:, :, 1:3], 1),
    "parts of a row by einsum": lambda tf, x: tf.einsum("bi,ij->bj", x, tf.ones([4, 3])),
    "values of a table": lambda tf, x: tf.gather(tf.ones([9, 2]), tf.cast(x, tf.int32)),
    "one of each row": lambda tf, x: tf.one_hot(tf.argmax(x, 1), 4),
    "a constant from outside of the graph": lambda tf, x: OUTSIDE[0] / x,
    "a choice": lambda tf, x: tf.where(x > 0, x, -x),
    "a loop": lambda tf, x: _loop(tf, x, 2, lambda i, y: y + 1),
    "a turn for each column": lambda tf, x: _loop(tf, x, tf.shape(x)[1], lambda i, y: y + 1),
    "a list": lambda tf, x: tf.ensure_shape(_stacked(tf, [x, x + 1]), [None, 4]),
    "a function": lambda tf, x: tf.function(lambda y: y * 2)(x),
    "the last column first": lambda tf, x: tf.reverse(x, [1])[..., :2],
    "halves": lambda tf, x: tf.concat(tf.split(x, 2, 1)[::-1], 1),
    "columns apart": lambda tf, x: tf.stack(tf.unstack(x, axis=1)[1:], 1),
    "ones for each row": lambda tf, x: x + tf.fill([tf.shape(x)[0], 4], 1.0),
    "a column of a column-major table": lambda tf, x: tf.transpose(tf.transpose(x)[1:3]),
}


OUTSIDE: list[Any] = []


@pytest.mark.parametrize("name", APART)
def test_rows_that_are_worked_on_apart_are_proven(tf: Any, name: str) -> None:
    OUTSIDE[:] = [tf.constant(2.0)]
    function = tf.function(lambda x: {"y": APART[name](tf, x)}, autograph=False)

    assert independence.is_proven(tf, function.get_concrete_function(tf.TensorSpec([None, 4], tf.float32)))


def test_a_dense_layer_for_as_many_steps_as_there_are(tf: Any) -> None:
    function = tf.function(lambda x: {"y": tf.reduce_sum(tf.tensordot(tf.exp(x), tf.ones([2, 3]), 1), 1)})

    assert independence.is_proven(tf, function.get_concrete_function(tf.TensorSpec([None, None, 2], tf.float32)))
