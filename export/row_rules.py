"""What each operation of a graph does to the rows of a batch; ``independence`` applies these rules to a whole graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from export.shapes import ELEMENTWISE, Shapes, Size, product

_SLICE_MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")

# Of a tensor that holds sizes, among them the number of rows.
SIZES = "sizes"


@dataclass(frozen=True)
class TensorList:
    """A list of tensors, each with its rows along this axis; None while nothing is in it."""

    axis: int | None = None


@dataclass(frozen=True)
class Parts:
    """Each row is so many consecutive entries along the first axis."""

    of_row: Size


# What is known of a tensor: the axis of its rows, one of the above, or None: it is the same for every row.
State = int | str | TensorList | Parts | None


class UnprovenError(Exception):
    """Rows may depend on each other; the message names the operation."""


@dataclass(frozen=True)
class Operation:
    """An operation of a graph with the states of its inputs."""

    tf: Any
    op: Any
    states: list[State]
    known: Mapping[str, State]  # of every tensor before, by name
    shapes: Shapes  # of the operation's graph

    def rank(self, index: int) -> int:
        """Return the rank of an input; raises UnprovenError where it is not known."""
        return self._rank(self.op.inputs[index])

    def result_rank(self) -> int:
        """Return the rank of the first output; raises UnprovenError where it is not known."""
        return self._rank(self.op.outputs[0])

    def _rank(self, tensor: Any) -> int:
        if tensor.shape.rank is None:
            raise UnprovenError(self.op.type)
        return int(tensor.shape.rank)

    def constant(self, index: int) -> Any:
        """Return the value of an input, as an array; raises UnprovenError where it is no constant."""
        value = self.tf.get_static_value(self.op.inputs[index])
        if value is None:
            raise UnprovenError(self.op.type)
        return value

    def is_repeated(self, index: int, place: int) -> bool:
        """Return whether an input has one value for all at this place from the last axis."""
        rank = self.rank(index)
        return rank < place or self.op.inputs[index].shape[rank - place] == 1

    def only(self, *batched: int) -> int:
        """Return the axis of the inputs at these places; raises unless they share one and no other depends on rows."""
        axes = {self.states[index] for index in batched}
        others = [state for index, state in enumerate(self.states) if index not in batched]
        axis = axes.pop()
        if axes or not isinstance(axis, int) or any(state is not None for state in others):
            raise UnprovenError(self.op.type)
        return axis


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _sizes(operation: Operation) -> State:
    """Sizes stay sizes as long as they are only taken apart and put together."""
    if all(state in (None, SIZES) for state in operation.states):
        return SIZES
    raise UnprovenError(operation.op.type)


def _elementwise(operation: Operation) -> State:
    """Values are combined at the same place, counted from the last axis."""
    if SIZES in operation.states:
        return _sizes(operation)
    if any(isinstance(state, TensorList) for state in operation.states):
        raise UnprovenError(operation.op.type)
    places = {operation.rank(i) - state for i, state in enumerate(operation.states) if isinstance(state, int)}
    place = places.pop()
    for index, state in enumerate(operation.states):
        if places or (state is None and not operation.is_repeated(index, place)):
            raise UnprovenError(operation.op.type)
    if operation.result_rank() < place:  # Equal gives False, and no more, for shapes that differ
        raise UnprovenError(operation.op.type)
    return operation.result_rank() - place


def _choice(operation: Operation) -> State:
    """Values are chosen at the same place; by a list of conditions, along the first axis."""
    if operation.rank(0) in (0, operation.rank(1)):
        return _elementwise(operation)
    if operation.only(0, 1, 2) != 0:
        raise UnprovenError(operation.op.type)
    return 0


def _bias(operation: Operation) -> State:
    return _elementwise(operation) if operation.op.get_attr("data_format") == b"NHWC" else _first(operation)


def _first(operation: Operation) -> State:
    """Rows of the first input are each worked on alone, and lie along its first axis."""
    if operation.only(0) != 0:
        raise UnprovenError(operation.op.type)
    return 0


def _normalization(operation: Operation) -> State:
    if operation.op.get_attr("is_training"):
        raise UnprovenError(operation.op.type)
    return _first(operation)


def _transposed_convolution(operation: Operation) -> State:
    """Rows of the third input; the number of rows is the first of the result's sizes, and must be in no other."""
    target = operation.op.inputs[0].op
    others = target.inputs[1:] if target.type == "Pack" else [operation.op.inputs[0]]
    is_known = operation.op.outputs[0].shape[1:].is_fully_defined()
    is_mixed = not is_known and any(operation.known[tensor.name] is not None for tensor in others)
    if is_mixed or operation.states != [SIZES, None, 0]:
        raise UnprovenError(operation.op.type)
    return 0


def _last_axis(operation: Operation) -> State:
    axis = operation.only(0)
    if axis == operation.rank(0) - 1:
        raise UnprovenError(operation.op.type)
    return axis


def _product(operation: Operation) -> State:
    """Rows of the first factor by a matrix, or matrices by matrices of the same row."""
    left, right = operation.states
    if any(operation.op.get_attr(name) for name in ("transpose_a", "adj_x") if name in operation.op.node_def.attr):
        raise UnprovenError(operation.op.type)
    place = operation.rank(0) - left if isinstance(left, int) else 0  # from the last axis
    # A row of a matrix, by the same factor as others; or a matrix, by the same if there is one.
    if right is None and (place == 2 or (place > 2 and operation.is_repeated(1, place))):
        return operation.result_rank() - place
    if left == right and place > 2 and operation.rank(0) == operation.rank(1):
        return left
    raise UnprovenError(operation.op.type)


def _einsum(operation: Operation) -> State:
    terms, _, result = operation.op.get_attr("equation").decode().partition("->")
    labels = [
        term[state] for term, state in zip(terms.split(","), operation.states, strict=True) if isinstance(state, int)
    ]
    if "." in terms or not labels or SIZES in operation.states:
        raise UnprovenError(operation.op.type)
    label = labels[0]
    if set(labels) != {label} or terms.count(label) != len(labels) or result.count(label) != 1:  # twice: a diagonal
        raise UnprovenError(operation.op.type)
    return result.index(label)


def _reduction(operation: Operation) -> State:
    if operation.states[0] == SIZES:
        return _sizes(operation)
    axis, rank = operation.only(0), operation.rank(0)
    over = {int(value) % rank for value in operation.constant(1).reshape(-1)}
    if axis in over:
        raise UnprovenError(operation.op.type)
    attributes = operation.op.node_def.attr
    keeps = "keep_dims" in attributes and operation.op.get_attr("keep_dims")
    return axis if keeps else axis - sum(other < axis for other in over)


def _cumulation(operation: Operation) -> State:
    axis = operation.only(0)
    if int(operation.constant(1)) % operation.rank(0) == axis:
        raise UnprovenError(operation.op.type)
    return axis


def _reshape(operation: Operation) -> State:
    """Rows stay rows where the values of each are as many before as after; or become parts, or rows again."""
    state, sizes = operation.states
    shapes, op = operation.shapes, operation.op
    # The shape that is asked for: the result's may have been set by hand. What depends on the rows is followed.
    before, target = shapes.of(op.inputs[0]), shapes.elements(op.inputs[1]) or []
    is_rest = sizes is None and target[:1] == [Size(-1)]
    after = target if is_rest else shapes.reshaped(op)
    if not (state == 0 or isinstance(state, Parts)) or sizes not in (None, SIZES) or not before or not after:
        raise UnprovenError(operation.op.type)
    parts = state.of_row if isinstance(state, Parts) else Size(1)
    result = (parts * product(before[1:])).divided_by(product(after[1:]))
    if result is None or not (is_rest or after[0].open):
        raise UnprovenError(operation.op.type)
    return 0 if result == Size(1) else Parts(result)


def _transpose(operation: Operation) -> State:
    rank = operation.rank(0)
    return [int(value) % rank for value in operation.constant(1)].index(operation.only(0))


def _expand(operation: Operation) -> State:
    axis, new = operation.only(0), int(operation.constant(1)) % (operation.rank(0) + 1)
    return axis + (new <= axis)


def _squeeze(operation: Operation) -> State:
    axis, rank = operation.only(0), operation.rank(0)
    gone = {value % rank for value in operation.op.get_attr("squeeze_dims")}
    if not gone or axis in gone:
        raise UnprovenError(operation.op.type)
    return axis - sum(other < axis for other in gone)


def _concat(operation: Operation) -> State:
    if SIZES in operation.states:
        return _sizes(operation)
    axis = operation.only(*range(len(operation.states) - 1))
    if int(operation.constant(len(operation.states) - 1)) % operation.rank(0) == axis:
        raise UnprovenError(operation.op.type)
    return axis


def _pack(operation: Operation) -> State:
    if SIZES in operation.states:
        return _sizes(operation)
    axis, new = operation.only(*range(len(operation.states))), operation.op.get_attr("axis")
    return axis + (new % (operation.rank(0) + 1) <= axis)


def _pad(operation: Operation) -> State:
    axis = operation.only(0)
    if any(operation.constant(1)[axis]):
        raise UnprovenError(operation.op.type)
    return axis


def _tile(operation: Operation) -> State:
    axis = operation.only(0)
    if operation.constant(1)[axis] != 1:
        raise UnprovenError(operation.op.type)
    return axis


def _strided_slice(operation: Operation) -> State:
    """All rows, and any part of the other axes; tf.strided_slice documents the masks."""
    if operation.states[0] == SIZES:
        return None if _is_another_size(operation) else _sizes(operation)
    row, strides = operation.only(0), operation.constant(3)
    masks = {name: operation.op.get_attr(f"{name}_mask") for name in _SLICE_MASKS}
    axis = new = 0  # of what is sliced, and of the result
    for index, stride in enumerate(strides):
        is_set = {name: mask >> index & 1 for name, mask in masks.items()}
        if is_set["ellipsis"]:
            bits = (1 << len(strides)) - 1 & ~masks["ellipsis"]  # others have no effect
            whole = operation.rank(0) - (len(strides) - 1 - (masks["new_axis"] & bits).bit_count())
            if axis <= row < axis + whole:
                break
            axis, new = axis + whole, new + whole
        elif is_set["new_axis"]:
            new += 1
        elif axis < row:
            axis, new = axis + 1, new + 1 - is_set["shrink_axis"]
        elif is_set["shrink_axis"] or not (is_set["begin"] and is_set["end"] and stride == 1):
            raise UnprovenError(operation.op.type)
        else:
            break
    return new + row - axis


def _is_another_size(operation: Operation) -> bool:
    """Tell whether this takes one size of a shape, and not the number of rows: it is the same for every row."""
    op = operation.op
    source, begin = op.inputs[0].op, operation.tf.get_static_value(op.inputs[1])
    masks = [op.get_attr(f"{name}_mask") for name in ("shrink_axis", "new_axis", "ellipsis")]
    if source.type != "Shape" or begin is None or begin.shape != (1,) or masks != [1, 0, 0]:
        return False
    axis = operation.known[source.inputs[0].name]
    return isinstance(axis, int) and begin[0] >= 0 and begin[0] != axis


def _fill(operation: Operation) -> State:
    """One value, in as many rows as there are."""
    shape = operation.op.outputs[0].shape
    open_axes = [axis for axis, size in enumerate(shape) if size is None] if shape.rank else []
    sizes = operation.shapes.elements(operation.op.inputs[0])
    if operation.states != [SIZES, None] or len(open_axes) != 1 or not sizes:
        raise UnprovenError(operation.op.type)
    if not _is_of_rows(operation, sizes[open_axes[0]]):
        raise UnprovenError(operation.op.type)
    return open_axes[0]


def _is_of_rows(operation: Operation, size: Size) -> bool:
    """Tell whether a size is the number of rows of a tensor in this graph."""
    return size.factor == 1 and [operation.known.get(name) for _, name, _ in size.open] == [
        axis for *_, axis in size.open[:1]
    ]


def _split(operation: Operation) -> State:
    place = 1 if operation.op.type == "Split" else 0  # of the values
    axis = operation.only(place)
    if int(operation.constant(0 if place else 2)) % operation.rank(place) == axis:
        raise UnprovenError(operation.op.type)
    return axis


def _unpack(operation: Operation) -> State:
    axis, gone = operation.only(0), operation.op.get_attr("axis") % operation.rank(0)
    if gone == axis:
        raise UnprovenError(operation.op.type)
    return axis - (gone < axis)


def _reverse(operation: Operation) -> State:
    axis, rank = operation.only(0), operation.rank(0)
    if axis in {int(value) % rank for value in operation.constant(1)}:
        raise UnprovenError(operation.op.type)
    return axis


def _new_list(operation: Operation) -> State:
    if any(state not in (None, SIZES) for state in operation.states) or operation.states[1] is not None:
        raise UnprovenError(operation.op.type)
    return TensorList()


def _list_of(operation: Operation) -> State:
    """Take a tensor apart along its first axis."""
    axis = operation.states[0]
    if not isinstance(axis, int) or axis == 0:
        raise UnprovenError(operation.op.type)
    return TensorList(axis - 1)


def _list_item(operation: Operation) -> State:
    if operation.states[1] is not None:  # which one depends on the number of rows
        raise UnprovenError(operation.op.type)
    return _list(operation).axis


def _stack(operation: Operation) -> State:
    axis = _list(operation).axis
    return axis + 1 if axis is not None else None


def _list(operation: Operation) -> TensorList:
    """Return what is in the list; where rows are read from one, nothing else may depend on them."""
    found, *others = operation.states
    if not isinstance(found, TensorList) or found.axis is None or others[0] not in (None, SIZES):
        raise UnprovenError(operation.op.type)
    return found


def _with_item(operation: Operation) -> State:
    found, index, item = operation.states
    if not isinstance(found, TensorList) or not isinstance(item, int) or index is not None:
        raise UnprovenError(operation.op.type)
    if found.axis not in (None, item):
        raise UnprovenError(operation.op.type)
    return TensorList(item)


def _gather(operation: Operation) -> State:
    """Rows of indices into the same table; or some of several sizes."""
    if operation.states[0] == SIZES:
        return _sizes(operation)
    axis = operation.only(1)
    if operation.op.type == "GatherV2" and int(operation.constant(2)) != 0:
        raise UnprovenError(operation.op.type)
    if "batch_dims" in operation.op.node_def.attr and operation.op.get_attr("batch_dims"):
        raise UnprovenError(operation.op.type)
    return axis


def _lookup(operation: Operation) -> State:
    return operation.only(1)


def _one_hot(operation: Operation) -> State:
    if operation.op.get_attr("axis") != -1:
        raise UnprovenError(operation.op.type)
    return operation.only(0)


NORMALIZATIONS = _names("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3")

Rule = Callable[[Operation], State]
RULES: list[tuple[frozenset[str], Rule]] = [
    (_names("Shape ShapeN Size"), lambda operation: SIZES),
    (_names("Assert"), lambda operation: None),
    (_names("BiasAdd"), _bias),
    (_names("Select"), _choice),
    (ELEMENTWISE, _elementwise),
    (
        _names(
            """AvgPool AvgPool3D Conv2D Conv3D DepthToSpace DepthwiseConv2dNative ExtractImagePatches LRN MaxPool
            MaxPool3D ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor SpaceToDepth"""
        ),
        _first,
    ),
    (NORMALIZATIONS, _normalization),
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
    (_names("Fill"), _fill),
    (_names("Split SplitV"), _split),
    (_names("Unpack"), _unpack),
    (_names("ReverseV2"), _reverse),
    (_names("TensorListReserve"), _new_list),
    (_names("TensorListFromTensor"), _list_of),
    (_names("TensorListGetItem"), _list_item),
    (_names("TensorListSetItem"), _with_item),
    (_names("TensorListStack"), _stack),
]
