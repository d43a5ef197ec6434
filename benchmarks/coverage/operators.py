"""Operators on tensors: every function of ``keras.ops``, and the TensorFlow functions that tf_keras saves by name."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from benchmarks.coverage.case import Case, Tensor

_INPUTS = {
    "a": Tensor((6, 6, 3)),
    "b": Tensor((4, 4)),
    "i": Tensor((4,), "index"),
    "s": Tensor((3,), "word"),
    "t": Tensor((4, 6), "truth"),
    "x": Tensor((4, 6), "positive"),
    "y": Tensor((4, 6), "positive"),
}
_FORMATS = (".keras",)

# Expressions of the inputs above.
_PYTHON = """
x * 2.0 | x + y | x - 1.0 | 1.0 / x | x / y | x // 0.3 | x % 0.3 | x ** 2.0 | 2.0 ** x | -x | abs(x) | b @ b | x < y
x <= 0.5 | x > y | x >= y | x == y | x != y | x[:, 1] | x[..., :2] | x[:, None] | x[:, ::-1] | x[:, 1:3, -1]
"""

_TENSORFLOW = """
t & (x > 0.5) | ~t | t ^ (x > 0.5) | i // 2 | i % 3 | tf.abs(x) | tf.acos(x) | tf.acosh(x + 2.0) | tf.add_n([x, y])
tf.argmax(x, axis=1) | tf.argmin(x, -1) | tf.argsort(x) | tf.asin(x) | tf.atan2(x, y)
tf.batch_to_space(tf.space_to_batch(a, [2, 2], [[0, 0], [0, 0]]), [2, 2], [[0, 0], [0, 0]])
tf.boolean_mask(x, [True, False, True, True], axis=1) | tf.broadcast_to(x[:, :1], tf.shape(x)) | tf.cast(x, 'int32')
tf.math.ceil(x) | tf.clip_by_norm(x, 1.0, axes=2) | tf.clip_by_value(x, 0.2, 0.6) | tf.concat([x, y], axis=1)
tf.constant(2.0) * x | tf.cos(x) | tf.cosh(x) | tf.cumsum(x, axis=1) | tf.divide(x, y)
tf.einsum('bij,bkj->bik', x, y) | tf.ensure_shape(x, (None, 4, 6)) | tf.equal(x, y) | tf.exp(x)
tf.expand_dims(x, -1) | tf.eye(4) + b | tf.fill(tf.shape(x), 2.0) * x | tf.floor(x * 3) | tf.gather(x, [2, 0], axis=1)
tf.gather(x, i, axis=1, batch_dims=1) | tf.gather_nd(x, [[0, 1]], batch_dims=0) | tf.greater(x, y) | tf.identity(x)
tf.image.adjust_brightness(a, 0.2) | tf.image.adjust_contrast(a, 2.0) | tf.image.central_crop(a, 0.5)
tf.image.extract_patches(a, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], 'VALID') | tf.image.flip_left_right(a)
tf.image.per_image_standardization(a) | tf.image.resize(a, [4, 5]) | tf.image.rgb_to_grayscale(a)
tf.image.resize_with_pad(a, 8, 9) | tf.image.ssim(a, a * 0.9, 1.0, filter_size=3) | tf.linalg.band_part(b, 1, 0)
tf.linalg.det(b) | tf.linalg.diag(x) | tf.linalg.diag_part(b) | tf.linalg.inv(b + 5 * tf.eye(4))
tf.linalg.matmul(x, y, transpose_b=True) | tf.linalg.norm(x, axis=-1) | tf.linalg.trace(b)
tf.linalg.l2_normalize(x, 2) | tf.linspace(0.0, 1.0, 6) * x | tf.logical_not(t) | tf.logical_and(t, t)
tf.math.add(x, y) | tf.math.bincount(i, minlength=5, axis=-1) | tf.math.cumprod(x, 1) | tf.math.divide_no_nan(x, y)
tf.math.erf(x) | tf.math.floordiv(x, 0.3) | tf.math.is_nan(x) | tf.math.l2_normalize(x, -1) | tf.math.lgamma(x)
tf.math.log(x) | tf.math.log1p(x) | tf.math.log_sigmoid(x) | tf.math.multiply_no_nan(x, y) | tf.math.reciprocal(x)
tf.math.reduce_std(x, 2) | tf.math.reduce_variance(x, 1) | tf.math.rsqrt(x) | tf.math.segment_sum(x[0], [0, 0, 1, 1])
tf.math.softplus(x) | tf.math.squared_difference(x, y) | tf.math.top_k(x, 2)[0] | tf.math.xlogy(x, y)
tf.matmul(b, b) | tf.maximum(x, y) | tf.meshgrid(x[0, 0], y[0, 0])[0] | tf.minimum(x, 0.5) | tf.multiply(x, y)
tf.negative(x) | tf.nn.avg_pool2d(a, 2, 2, 'SAME') | tf.nn.bias_add(x, tf.ones(6))
tf.nn.conv1d(x, tf.ones((2, 6, 3)), 1, 'SAME') | tf.nn.conv2d(a, tf.ones((2, 2, 3, 4)), 1, 'SAME')
tf.nn.depth_to_space(tf.tile(a, [1, 1, 1, 4]), 2)
tf.nn.depthwise_conv2d(a, tf.ones((2, 2, 3, 2)), [1, 1, 1, 1], 'SAME') | tf.nn.dropout(x, 0.0) | tf.nn.elu(x)
tf.nn.gelu(x) | tf.nn.l2_loss(x) + x | tf.nn.leaky_relu(x - 0.5) | tf.nn.local_response_normalization(a)
tf.nn.log_softmax(x) | tf.nn.max_pool2d(a, 2, 2, 'VALID') | tf.nn.moments(x, [1])[0] | tf.nn.relu(x - 0.5)
tf.nn.relu6(x * 9) | tf.nn.selu(x) | tf.nn.sigmoid(x) | tf.nn.silu(x) | tf.nn.softmax(x) | tf.nn.softsign(x)
tf.nn.space_to_depth(a, 2) | tf.nn.swish(x) | tf.nn.tanh(x) | tf.norm(x, axis=1) | tf.not_equal(x, y)
tf.one_hot(i, 5) | tf.ones_like(x) + x | tf.pad(x, [[0, 0], [1, 1], [0, 2]]) | tf.pow(x, 2.0) | tf.range(6.0) + x
tf.cast(tf.rank(x), 'float32') * x | tf.realdiv(x, y) | tf.reduce_all(t, 1) | tf.reduce_any(t, 1)
tf.reduce_logsumexp(x, 1) | tf.reduce_max(x, 1) | tf.reduce_mean(x, [1, 2]) | tf.reduce_min(x, 2, keepdims=True)
tf.reduce_prod(x, 1) | tf.reduce_sum(x, 1) | tf.repeat(x, 2, axis=1) | tf.reshape(x, [-1, 24]) | tf.reverse(x, [1])
tf.reverse_sequence(x, i[:, 0], 1) | tf.roll(x, 1, 1) | tf.round(x * 3) | tf.sequence_mask(i, 5)
tf.shape(x)[1:] + 0 * i[0, :2] | tf.sign(x) | tf.signal.dct(x) | tf.sin(x) | tf.cast(tf.size(x[0]), 'float32') * x
tf.slice(x, [0, 1, 2], [-1, 2, 3]) | tf.sort(x) | tf.split(x, 2, axis=1)[1] | tf.sqrt(x) | tf.square(x)
tf.squeeze(x[:, :1], 1) | tf.stack([x, y], 1) | tf.stop_gradient(x)
tf.strided_slice(x, [0, 0, 1], [5, 4, 5], [1, 2, 1]) | tf.strings.length(s) | tf.strings.lower(s)
tf.strings.join([s, s]) | tf.strings.regex_replace(s, 'o', '0') | tf.strings.substr(s, 0, 2)
tf.strings.to_hash_bucket_fast(s, 9) | tf.subtract(x, y) | tf.tan(x) | tf.tanh(x)
tf.tensordot(x, tf.ones((6, 2)), 1) | tf.tile(x, [1, 2, 1]) | tf.transpose(x, [0, 2, 1]) | tf.truncatediv(i, 2)
tf.unstack(x, axis=1)[1] | tf.where(x > 0.5, x, y) | tf.zeros_like(x) + x | K.abs(x) | K.batch_dot(x, y, axes=2)
K.batch_flatten(x) | K.cast(x, 'float16') | K.clip(x, 0.2, 0.5) | K.concatenate([x, y]) | K.cumsum(x, 1)
K.dot(x, tf.ones((6, 2))) | K.elu(x) | K.exp(x) | K.expand_dims(x) | K.flatten(x) | K.gather(x, 0) | K.hard_sigmoid(x)
K.l2_normalize(x, 1) | K.log(x) | K.max(x, 1) | K.maximum(x, y) | K.mean(x, 1) | K.min(x, 1) | K.one_hot(i, 5)
K.permute_dimensions(x, (0, 2, 1)) | K.pow(x, 2) | K.relu(x - 0.5, max_value=0.3) | K.repeat(x[:, 0], 3)
K.repeat_elements(x, 2, 1) | K.reshape(x, (-1, 24)) | K.resize_images(a, 2, 2, 'channels_last') | K.reverse(x, 1)
K.round(x) | K.sigmoid(x) | K.softmax(x) | K.spatial_2d_padding(a) | K.sqrt(x) | K.square(x) | K.squeeze(x[:, :1], 1)
K.stack([x, y], 1) | K.std(x, 1) | K.sum(x, 1) | K.switch(x > 0.5, x, y) | K.tanh(x) | K.temporal_padding(x)
K.tile(x, (1, 2, 1)) | K.var(x, 1) | K.zeros_like(x) + x
"""

# Functions of keras.ops that take more than x.
_KERAS = """
ops.adaptive_average_pool(a, (3, 3)) | ops.adaptive_max_pool(a, (3, 3)) | ops.add(x, y) | ops.allclose(x, y)
ops.append(x, y) | ops.arange(6.0) + x | ops.arccosh(x + 2.0) | ops.arctan2(x, y) | ops.argpartition(x, 2)
ops.array(2.0) * x | ops.array_split(x, 2, axis=1) | ops.associative_scan(ops.add, x) | ops.average(x, axis=1)
ops.average_pool(a, 2) | ops.bartlett(6) * x | ops.batch_normalization(x, ops.ones(6), ops.ones(6), -1)
ops.binary_crossentropy(x, y) | ops.bincount(i, minlength=5) | ops.bitwise_and(i, i) | ops.bitwise_invert(i)
ops.bitwise_left_shift(i, i) | ops.bitwise_not(i) | ops.bitwise_or(i, i) | ops.bitwise_right_shift(i, i)
ops.bitwise_xor(i, i) | ops.blackman(6) * x | ops.broadcast_to(x[:, :1], (5, 4, 6)) | ops.cast(x, 'int32')
ops.categorical_crossentropy(x, y) | ops.cdist(x, y)
ops.cholesky(ops.matmul(b, ops.transpose(b, (0, 2, 1))) + 9 * ops.eye(4))
ops.cholesky_inverse(ops.matmul(b, ops.transpose(b, (0, 2, 1))) + 9 * ops.eye(4)) | ops.clip(x, 0.2, 0.6)
ops.concatenate([x, y], axis=1) | ops.conv(a, ops.ones((2, 2, 3, 4)), 1, 'same')
ops.conv_transpose(a, ops.ones((2, 2, 4, 3)), 2, 'same') | ops.corrcoef(x[0]) | ops.correlate(x[0, 0], y[0, 0])
ops.cross(x[:, :, :3], y[:, :, :3]) | ops.ctc_decode(x, i[:, 0])
ops.ctc_loss(i + 1, x, i[:, 0] * 0 + 4, i[:, 0] * 0 + 4) | ops.cumprod(x, axis=1) | ops.cumsum(x, axis=1)
ops.depth_to_space(ops.tile(a, (1, 1, 1, 4)), 2) | ops.depthwise_conv(a, ops.ones((2, 2, 3, 2)), 1, 'same') | ops.det(b)
ops.diag(x[0, 0]) | ops.diagflat(x[0, 0]) | ops.diagonal(b) | ops.digitize(x, ops.array([0.2, 0.5])) | ops.divide(x, y)
ops.divide_no_nan(x, y) | ops.dot(x, ops.ones((6, 2)))
ops.dot_product_attention(ops.reshape(x, (-1, 4, 2, 3)), ops.reshape(y, (-1, 4, 2, 3)), ops.reshape(y, (-1, 4, 2, 3)))
ops.dsplit(x, 2) | ops.dstack([x, y]) | ops.eig(b) | ops.eigh(b) | ops.einsum('bij,bkj->bik', x, y)
ops.empty((4, 6)) * 0.0 + x | ops.equal(x, y) | ops.expand_dims(x, 1) | ops.extract_sequences(x, 3, 1) | ops.eye(4) + b
ops.fft((x, y)) | ops.fft2((x, y)) | ops.flip(x, 1) | ops.floor_divide(x, y) | ops.fmax(x, y) | ops.fmin(x, y)
ops.fmod(x, y) | ops.fold(ops.unfold(a, 2), (6, 6), 2) | ops.fori_loop(0, 3, lambda k, v: v * 2.0, x)
ops.full((4, 6), 2.0) * x | ops.full_like(x, 2.0) | ops.gcd(i, i) | ops.geomspace(x, y, 5)
ops.get_item(x, (slice(None), 1)) | ops.greater(x, y) | ops.greater_equal(x, y) | ops.hamming(6) * x
ops.hanning(6) * x | ops.heaviside(x, y) | ops.hsplit(x, 2) | ops.hstack([x, y]) | ops.hypot(x, y) | ops.identity(4) + b
ops.ifft2((x, y)) | ops.in_top_k(i[:, 0], x[:, 0], 2) | ops.inner(x, ops.ones(6)) | ops.inv(b) | ops.irfft((x, y))
ops.isclose(x, y) | ops.isin(i, ops.array([1, 2])) | ops.istft(ops.stft(x[:, 0], 4, 2, 4), 4, 2, 4)
ops.jvp(ops.relu, (x,), (y,))[0] | ops.kaiser(6, 3.0) * x | ops.kron(x[0], ops.ones((2, 2))) | ops.lcm(i, i)
ops.ldexp(i, i) | ops.left_shift(i, i) | ops.less(x, y) | ops.less_equal(x, y) | ops.linspace(x, y, 5)
ops.logaddexp(x, y) | ops.logaddexp2(x, y) | ops.logdet(b) | ops.logical_and(t, t) | ops.logical_not(t)
ops.logical_or(t, t) | ops.logical_xor(t, t) | ops.logspace(x, y, 5) | ops.lstsq(b[0], b[0]) | ops.lu_factor(b)
ops.map(ops.relu, x) | ops.matmul(b, b) | ops.matrix_rank(b) | ops.max_pool(a, 2) | ops.maximum(x, y)
ops.meshgrid(x[0, 0], y[0, 0]) | ops.minimum(x, y) | ops.mod(x, y) | ops.moments(x, [1]) | ops.moveaxis(x, 1, 2)
ops.multi_hot(i, 5) | ops.multiply(x, y) | ops.nanpercentile(x, 30, axis=1) | ops.nanquantile(x, 0.3, axis=1)
ops.nextafter(x, y) | ops.norm(x, axis=-1) | ops.not_equal(x, y) | ops.one_hot(i, 5) | ops.ones((4, 6)) * x
ops.outer(x[0, 0], y[0, 0]) | ops.pad(x, ((0, 0), (1, 1), (0, 2))) | ops.percentile(x, 30, axis=1) | ops.pinv(b)
ops.polar(x, y) | ops.power(x, y) | ops.psnr(x, y, 1.0) | ops.ptp(x, axis=1) | ops.qr(b) | ops.quantile(x, 0.3, axis=1)
ops.rearrange(x[0], 'i j -> j i') | ops.repeat(x, 2, axis=1) | ops.reshape(x, (-1, 24)) | ops.right_shift(i, i)
ops.roll(x, 1, axis=1) | ops.rot90(x, axes=(1, 2)) | ops.round(x, 1) | ops.saturate_cast(x * 300, 'uint8')
ops.scan(ops.add, x[0], x[0])[1] | ops.scatter(ops.array([[0], [2]]), x[0, :2, 0], (4,))
ops.scatter_update(x, [[0, 0, 1]], [9.0]) | ops.searchsorted(ops.array([0.2, 0.5]), x[0, 0])
ops.segment_max(x[0], ops.array([0, 0, 1, 1])) | ops.segment_min(x[0], ops.array([0, 0, 1, 1]))
ops.segment_prod(x[0], ops.array([0, 0, 1, 1])) | ops.segment_sum(x[0], ops.array([0, 0, 1, 1]))
ops.select([x > 0.5], [x], 2.0) | ops.separable_conv(a, ops.ones((2, 2, 3, 2)), ops.ones((1, 1, 6, 4)), 1, 'same')
ops.shape(x)[1] * x | ops.slice(x, (0, 1, 2), (1, 2, 3)) | ops.slice_update(x, (0, 1, 2), y[:1, :2, :3])
ops.slogdet(b) | ops.solve(b + 9 * ops.eye(4), x) | ops.solve_triangular(b + 9 * ops.eye(4), x)
ops.space_to_depth(a, 2) | ops.sparse_categorical_crossentropy(i, x) | ops.split(x, 2, axis=1)
ops.squeeze(x[:, :1], 1) | ops.stack([x, y], axis=1) | ops.stft(x[:, 0], 4, 2, 4) | ops.subtract(x, y) | ops.svd(b)
ops.swapaxes(x, 1, 2) | ops.switch(i[0, 0], [ops.relu, ops.tanh], x) | ops.take(x, [2, 0], axis=1)
ops.take_along_axis(x, ops.expand_dims(i, -1), axis=2) | ops.tensordot(x, ops.ones((6, 2)), 1)
ops.threshold(x, 0.5, 0.1) | ops.tile(x, (1, 2, 1)) | ops.top_k(x, 2) | ops.trace(b) | ops.transpose(x, (0, 2, 1))
ops.trapezoid(x, axis=1) | ops.tri(4) * b | ops.tril(b) | ops.triu(b) | ops.true_divide(x, y) | ops.unfold(a, 2)
ops.unique(i) | ops.unravel_index(i, (2, 2)) | ops.unstack(x, axis=1) | ops.vander(x[0, 0]) | ops.vdot(x, y)
ops.vectorized_map(ops.relu, x) | ops.view(x, 'int32') | ops.view_as_complex(ops.reshape(x, (-1, 4, 3, 2)))
ops.view_as_real(ops.view_as_complex(ops.reshape(x, (-1, 4, 3, 2)))) | ops.vsplit(x[0], 2) | ops.vstack([x, y])
ops.where(x > 0.5, x, y) | ops.while_loop(lambda v: ops.all(v < 9.0), lambda v: (v + 1.0,), (x,))[0]
ops.zeros((4, 6)) + x
"""

# Functions of keras.ops that a model can't hold.
_NOT_HELD = {
    "cond": "takes functions of no arguments, which refer to tensors outside of the model",
    "convert_to_numpy": "takes no tensor of a model",
    "custom_gradient": "is not an operation, but makes a function",
    "dtype": "returns no tensor",
    "is_tensor": "returns no tensor",
    "vectorize": "is not supported by Keras with TensorFlow",
}


def cases(keras: Any) -> dict[str, Case | str]:
    """Return a case for each operator."""
    return (
        _keras3(keras)
        if hasattr(keras, "ops")
        else {text: _case(text) for text in _expressions(_PYTHON.strip() + _TENSORFLOW)}
    )


def _expressions(text: str) -> list[str]:
    return [expression.strip() for line in text.strip().splitlines() for expression in line.split(" | ")]


def _keras3(keras: Any) -> dict[str, Case | str]:
    found: dict[str, Case | str] = {text: _case(text) for text in _expressions(_PYTHON)}
    called = {re.split(r"\W", text)[1]: text for text in _expressions(_KERAS)}
    for name in sorted(vars(keras.ops)):
        if name in _NOT_HELD:
            found[name] = _NOT_HELD[name]
        elif callable(getattr(keras.ops, name)) and not name.startswith("_"):
            found[name] = _case(called.get(name, f"ops.{name}(x)"))
    return found


def _case(expression: str) -> Case:
    names = sorted(set(re.findall(r"\b[abistxy]\b(?!')", expression)))
    return Case(partial(_model, expression, names), tuple(_INPUTS[name] for name in names), _FORMATS)


def _model(expression: str, names: list[str], keras: Any) -> Any:
    import tensorflow as tf

    inputs = {name: _INPUTS[name].input(keras, name) for name in names}
    known = {"tf": tf, "K": getattr(keras, "backend", None), "ops": getattr(keras, "ops", None), **inputs}
    return keras.Model(list(inputs.values()), eval(expression, known))
