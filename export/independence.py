"""A proof that no row of a batch depends on another, from a graph's operations.

Every tensor that depends on the inputs is followed with the axis along which its rows lie. An operation that is not in
the tables, or that mixes rows (a mean over the batch, a sort of it, indexing into it), ends the proof, and requests are
not batched then. Loops are not followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What is known of a tensor: the axis of its rows, that it holds sizes of such tensors, or None: it is of no input.
_SIZES = "sizes"
_State = int | str | None


class _UnprovenError(Exception):
    """Rows may depend on each other; the message names the operation."""


@dataclass(frozen=True)
class _Operation:
    """An operation of a graph with the states of its inputs."""

    tf: Any
    op: Any
    states: list[_State]

    def rank(self, index: int) -> int:
        rank = self.op.inputs[index].shape.rank
        if rank is None:
            raise _UnprovenError(self.op.type)
        return int(rank)

    def constant(self, index: int) -> Any:
        value = self.tf.get_static_value(self.op.inputs[index])
        if value is None:
            raise _UnprovenError(self.op.type)
        return value

    def only(self, *batched: int) -> int:
        """Return the axis of the inputs at these places; raises unless they share one and no other depends on rows."""
        axes = {self.states[index] for index in batched}
        others = [state for index, state in enumerate(self.states) if index not in batched]
        axis = axes.pop()
        if axes or not isinstance(axis, int) or any(state is not None for state in others):
            raise _UnprovenError(self.op.type)
        return axis


def is_proven(tf: Any, function: Any) -> bool:
    """Return whether each row of a concrete function's outputs provably depends on the same row of its inputs only."""
    arguments = function.inputs[: len(function.inputs) - len(function.captured_inputs)]  # then variables and constants
    states: dict[str, _State] = {tensor.name: 0 for tensor in arguments}
    try:
        for op in function.graph.get_operations():
            if any(tensor.name not in states for tensor in op.outputs):
                if any(tensor.name not in states for tensor in op.inputs):  # a loop of TensorFlow 1
                    return False
                before = [states[tensor.name] for tensor in op.inputs]
                if op.type == "IdentityN":  # each output is the input at its place
                    states |= dict(zip((tensor.name for tensor in op.outputs), before, strict=True))
                    continue
                found = _follow(tf, op, before)
                states |= {tensor.name: states.get(tensor.name, found) for tensor in op.outputs}
    except _UnprovenError:
        return False
    return all(states.get(tensor.name) == 0 for tensor in function.outputs)


def _follow(tf: Any, op: Any, states: list[_State]) -> _State:
    if all(state is None for state in states):
        if op.type.startswith(("Random", "Stateful", "Stateless")):  # of as many rows as there happen to be
            raise _UnprovenError(op.type)
        return None
    for types, rule in _RULES:
        if op.type in types:
            return rule(_Operation(tf, op, states))
    raise _UnprovenError(op.type)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _sizes(operation: _Operation) -> _State:
    """Sizes stay sizes as long as they are only taken apart and put together."""
    if all(state in (None, _SIZES) for state in operation.states):
        return _SIZES
    raise _UnprovenError(operation.op.type)


def _elementwise(operation: _Operation) -> _State:
    """Values are combined at the same place, counted from the last axis."""
    if _SIZES in operation.states:
        return _sizes(operation)
    places = {operation.rank(i) - state for i, state in enumerate(operation.states) if isinstance(state, int)}
    place = places.pop()
    for index, state in enumerate(operation.states):
        rank = operation.rank(index)
        is_repeated = rank < place or operation.op.inputs[index].shape[rank - place] == 1
        if places or (state is None and not is_repeated):
            raise _UnprovenError(operation.op.type)
    return int(operation.op.outputs[0].shape.rank) - place


def _first(operation: _Operation) -> _State:
    """Rows of the first input are each worked on alone, and lie along its first axis."""
    if operation.only(0) != 0:
        raise _UnprovenError(operation.op.type)
    return 0


def _normalization(operation: _Operation) -> _State:
    if operation.op.get_attr("is_training"):
        raise _UnprovenError(operation.op.type)
    return _first(operation)


def _transposed_convolution(operation: _Operation) -> _State:
    if operation.states[0] not in (None, _SIZES) or operation.states[1] is not None or operation.states[2] != 0:
        raise _UnprovenError(operation.op.type)
    return 0


def _last_axis(operation: _Operation) -> _State:
    axis = operation.only(0)
    if axis == operation.rank(0) - 1:
        raise _UnprovenError(operation.op.type)
    return axis


def _product(operation: _Operation) -> _State:
    """Rows of the first factor by a matrix, or matrices by matrices of the same row."""
    left, right = operation.states
    if any(operation.op.get_attr(name) for name in ("transpose_a", "adj_x") if name in operation.op.node_def.attr):
        raise _UnprovenError(operation.op.type)
    rank = operation.rank(0)
    if isinstance(left, int) and right is None and left <= rank - 2:
        return left + operation.op.outputs[0].shape.rank - rank
    if left == right and isinstance(left, int) and left < rank - 2 and rank == operation.rank(1):
        return left
    raise _UnprovenError(operation.op.type)


def _einsum(operation: _Operation) -> _State:
    terms, _, result = operation.op.get_attr("equation").decode().partition("->")
    labels = [
        term[state] for term, state in zip(terms.split(","), operation.states, strict=True) if isinstance(state, int)
    ]
    others = [
        term for term, state in zip(terms.split(","), operation.states, strict=True) if not isinstance(state, int)
    ]
    label = labels[0]
    if "." in terms or _SIZES in operation.states or set(labels) != {label} or any(label in term for term in others):
        raise _UnprovenError(operation.op.type)
    if label not in result:
        raise _UnprovenError(operation.op.type)
    return result.index(label)


def _reduction(operation: _Operation) -> _State:
    if operation.states[0] == _SIZES:
        return _sizes(operation)
    axis, rank = operation.only(0), operation.rank(0)
    over = {int(value) % rank for value in operation.constant(1).reshape(-1)}
    if axis in over:
        raise _UnprovenError(operation.op.type)
    attributes = operation.op.node_def.attr
    keeps = "keep_dims" in attributes and operation.op.get_attr("keep_dims")
    return axis if keeps else axis - sum(other < axis for other in over)


def _cumulation(operation: _Operation) -> _State:
    axis = operation.only(0)
    if int(operation.constant(1)) % operation.rank(0) == axis:
        raise _UnprovenError(operation.op.type)
    return axis


def _reshape(operation: _Operation) -> _State:
    """Rows stay rows where the values of each are as many before as after."""
    before, after = (tensor.shape for tensor in (operation.op.inputs[0], operation.op.outputs[0]))
    if operation.states[0] != 0 or operation.states[1] not in (None, _SIZES) or not before.rank or not after.rank:
        raise _UnprovenError(operation.op.type)
    sizes = before[1:].num_elements(), after[1:].num_elements()
    if sizes[0] is None or sizes[0] != sizes[1] or after[0] is not None:
        raise _UnprovenError(operation.op.type)
    return 0


def _transpose(operation: _Operation) -> _State:
    return list(operation.constant(1)).index(operation.only(0))


def _expand(operation: _Operation) -> _State:
    axis, new = operation.only(0), int(operation.constant(1)) % (operation.rank(0) + 1)
    return axis + (new <= axis)


def _squeeze(operation: _Operation) -> _State:
    axis, rank = operation.only(0), operation.rank(0)
    gone = {value % rank for value in operation.op.get_attr("squeeze_dims")}
    if not gone or axis in gone:
        raise _UnprovenError(operation.op.type)
    return axis - sum(other < axis for other in gone)


def _concat(operation: _Operation) -> _State:
    if _SIZES in operation.states:
        return _sizes(operation)
    axis = operation.only(*range(len(operation.states) - 1))
    if int(operation.constant(len(operation.states) - 1)) % operation.rank(0) == axis:
        raise _UnprovenError(operation.op.type)
    return axis


def _pack(operation: _Operation) -> _State:
    if _SIZES in operation.states:
        return _sizes(operation)
    axis, new = operation.only(*range(len(operation.states))), operation.op.get_attr("axis")
    return axis + (new % (operation.rank(0) + 1) <= axis)


def _pad(operation: _Operation) -> _State:
    axis = operation.only(0)
    if any(operation.constant(1)[axis]):
        raise _UnprovenError(operation.op.type)
    return axis


def _tile(operation: _Operation) -> _State:
    axis = operation.only(0)
    if operation.constant(1)[axis] != 1:
        raise _UnprovenError(operation.op.type)
    return axis


def _strided_slice(operation: _Operation) -> _State:
    if operation.states[0] == _SIZES:
        return _sizes(operation)
    op = operation.op
    masks = {name: op.get_attr(f"{name}_mask") & 1 for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    whole = masks["ellipsis"] or (masks["begin"] and masks["end"] and operation.constant(3)[0] == 1)
    later = op.get_attr("new_axis_mask") | (op.get_attr("shrink_axis_mask") if masks["ellipsis"] else 0)
    if (
        operation.only(0) != 0
        or not whole
        or masks["new_axis"]
        or masks["shrink_axis"]
        or (masks["ellipsis"] and later)
    ):
        raise _UnprovenError(op.type)
    return 0


def _gather(operation: _Operation) -> _State:
    """Rows of indices into the same table."""
    axis = operation.only(1)
    if operation.op.type == "GatherV2" and int(operation.constant(2)) != 0:
        raise _UnprovenError(operation.op.type)
    if "batch_dims" in operation.op.node_def.attr and operation.op.get_attr("batch_dims"):
        raise _UnprovenError(operation.op.type)
    return axis


def _lookup(operation: _Operation) -> _State:
    return operation.only(1)


def _one_hot(operation: _Operation) -> _State:
    if operation.op.get_attr("axis") != -1:
        raise _UnprovenError(operation.op.type)
    return operation.only(0)


_RULES: list[tuple[frozenset[str], Callable[[_Operation], _State]]] = [
    (_names("Shape ShapeN Size"), lambda operation: _SIZES),
    (
        _names(
            """Abs Acos Acosh Add AddN AddV2 Asin Asinh AsString Atan Atan2 Atanh BiasAdd BitwiseAnd BitwiseOr
            BitwiseXor Cast Ceil CheckNumerics ClipByValue Cos Cosh DivNoNan Elu Equal Erf Erfc Exp Expm1 Floor
            FloorDiv FloorMod Greater GreaterEqual Identity IsFinite IsInf IsNan LeakyRelu Less LessEqual Log Log1p
            LogicalAnd LogicalNot LogicalOr Maximum Minimum Mul Neg NotEqual OnesLike Pow RealDiv Reciprocal Relu
            Relu6 Rint Round Rsqrt Select SelectV2 Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Square
            SquaredDifference StopGradient StringLength StringLower StringStrip StringToHashBucketFast StringUpper
            Sub Tan Tanh ZerosLike"""
        ),
        _elementwise,
    ),
    (
        _names(
            """AvgPool AvgPool3D Conv2D Conv3D DepthToSpace DepthwiseConv2dNative ExtractImagePatches LRN MaxPool
            MaxPool3D ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor SpaceToDepth"""
        ),
        _first,
    ),
    (_names("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"), _normalization),
    (_names("Conv2DBackpropInput Conv3DBackpropInputV2"), _transposed_convolution),
    (_names("LogSoftmax Softmax TopKV2"), _last_axis),
    (_names("BatchMatMul BatchMatMulV2 BatchMatMulV3 MatMul"), _product),
    (_names("Einsum"), _einsum),
    (_names("All Any ArgMax ArgMin EuclideanNorm Max Mean Min Prod Sum"), _reduction),
    (_names("Reshape"), _reshape),
    (_names("Transpose"), _transpose),
    (_names("ExpandDims"), _expand),
    (_names("Squeeze"), _squeeze),
    (_names("ConcatV2"), _concat),
    (_names("Pack"), _pack),
    (_names("MirrorPad Pad PadV2"), _pad),
    (_names("StridedSlice"), _strided_slice),
    (_names("Tile"), _tile),
    (_names("GatherV2 ResourceGather"), _gather),
    (_names("LookupTableFindV2"), _lookup),
    (_names("OneHot"), _one_hot),
    (_names("Cumsum"), _cumulation),
]
