"""TensorFlow functions in Keras 2 models: ``x * 2`` and ``tf.nn.relu(x)`` are stored as layers that name a function.

Only functions that compute are allowed, by the names that tf_keras writes (``get_canonical_name_for_symbol``).
"""

from __future__ import annotations

from typing import Any

from serving.models.export_record import SourceError

LAYERS = {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}

_NAMESPACES = (
    *("math.", "nn.", "linalg.", "image.", "strings.", "signal."),
    *("bitwise.", "quantization.", "__operators__."),
)

_FUNCTIONS = set(
    """
    abs acos acosh add add_n arg_max arg_min argmax argmin argsort asin asinh atan atan2 atanh batch_gather
    batch_to_space batch_to_space_nd bitcast boolean_mask broadcast_dynamic_shape broadcast_static_shape
    broadcast_to cast clip_by_average_norm clip_by_global_norm clip_by_norm clip_by_value complex concat constant
    conv convert_to_tensor cos cosh cumsum div divide dtypes.complex dtypes.saturate_cast dynamic_partition
    dynamic_stitch edit_distance eig einsum ensure_shape equal exp expand_dims extract_volume_patches eye fftnd fill
    floor floor_div gather gather_nd greater greater_equal histogram_fixed_width histogram_fixed_width_bins identity
    identity_n ifftnd irfftnd less less_equal linspace logical_and logical_not logical_or matmul matrix_square_root
    maximum meshgrid minimum multiply negative norm not_equal one_hot ones ones_like pad parallel_stack pow range
    rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum
    repeat reshape reverse reverse_sequence rfftnd roll round saturate_cast scatter_nd searchsorted sequence_mask
    setdiff1d shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd split sqrt square
    squeeze stack stop_gradient strided_slice substr subtract switch_case tan tanh tensor_scatter_nd_add
    tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile
    to_bfloat16 to_double to_float to_int32 to_int64 top_k transpose truncatediv truncatemod unique
    unique_with_counts unravel_index unstack where zeros zeros_like
    """.split()  # noqa: SIM905
)

# Functions of ``tf.keras.backend`` that compute.
_BACKEND = set(
    """
    abs all any arange argmax argmin batch_dot batch_flatten batch_normalization bias_add binary_crossentropy cast
    categorical_crossentropy clip concatenate constant conv1d conv2d conv2d_transpose conv3d cos ctc_batch_cost
    ctc_decode ctc_label_dense_to_sparse cumprod cumsum depthwise_conv2d dot dtype elu equal exp expand_dims eye
    flatten gather greater greater_equal hard_sigmoid in_top_k int_shape l2_normalize less less_equal log max
    maximum mean min minimum ndim not_equal one_hot ones ones_like permute_dimensions pool2d pool3d pow prod relu
    repeat repeat_elements reshape resize_images resize_volumes reverse round separable_conv2d shape sigmoid sign
    sin softmax softplus softsign sparse_categorical_crossentropy spatial_2d_padding spatial_3d_padding sqrt square
    squeeze stack std stop_gradient sum switch tanh temporal_padding tile transpose var zeros zeros_like
    """.split()  # noqa: SIM905
)

# Operations of TensorFlow 2.0 to 2.3's TensorFlowOpLayer, by their names in a graph.
_GRAPH_OPERATIONS = set(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin BatchMatMul BatchMatMulV2 BiasAdd BroadcastTo Cast Ceil ClipByValue
    Concat ConcatV2 Cos Cumsum DepthToSpace Div DivNoNan Einsum Elu Equal Erf Exp ExpandDims Expm1 Fill Floor
    FloorDiv FloorMod Gather GatherNd GatherV2 Greater GreaterEqual Identity LeakyRelu Less LessEqual Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool Maximum Mean Min Minimum MirrorPad Mod Mul Neg
    NotEqual OneHot OnesLike Pack Pad PadV2 Pow Prod Range Rank RealDiv Reciprocal Relu Relu6 Reshape ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin Size
    Slice Softmax Softplus Softsign SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient
    StridedSlice Sub Sum Tan Tanh Tile TopKV2 Transpose Unpack Where ZerosLike
    """.split()  # noqa: SIM905
)


def check(class_name: str, config: Any, layer: str) -> None:
    """Raise SourceError where a layer calls a function that may do more than compute."""
    config = config if isinstance(config, dict) else {}
    if class_name == "TensorFlowOpLayer":
        name = _operation(config)
        allowed = name in _GRAPH_OPERATIONS
    else:
        name = str(config.get("function", ""))
        allowed = _is_allowed(name)
    if not allowed:
        raise SourceError(
            f"layer {layer!r} calls TensorFlow's {name or 'operations without a name'}, which is not allowed. "
            "Rewrite that part with Keras layers, or save the whole model as a SavedModel"
        )


def _is_allowed(name: str) -> bool:
    name = name.removeprefix("compat.v1.")
    if name.startswith("keras.backend."):
        return name.removeprefix("keras.backend.") in _BACKEND
    return name.startswith(_NAMESPACES) or name in _FUNCTIONS or name in ("//", "getitem")


def _operation(config: dict[str, Any]) -> str:
    """Return the operation in a layer's ``node_def``, a NodeDef as JSON; text would be read as a binary one."""
    node = config.get("node_def")
    return str(node.get("op", "")) if isinstance(node, dict) else ""
