"""Sizes of tensors as products of a number and of dimensions that may vary, followed through a graph's operations.

TensorFlow's own shape inference knows the number of elements of ``Reshape(x, [size(x, 0) * size(x, 1), 8])`` only when
it runs. Here both sides are products of the same dimensions, which shows that they are equal whatever those are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import count
from typing import Any


@dataclass(frozen=True)
class Size:
    """A known factor, and the open dimensions, (number of ``Shapes``, tensor, axis), that are factors too, in order."""

    factor: int
    open: tuple[tuple[int, str, int], ...] = ()

    def __mul__(self, other: Size) -> Size:
        return Size(self.factor * other.factor, tuple(sorted(self.open + other.open)))

    def divided_by(self, other: Size) -> Size | None:
        """Return the quotient; None where it is no product of whole numbers and dimensions."""
        rest = Counter(self.open)
        rest.subtract(other.open)
        if not other.factor or self.factor % other.factor or min(rest.values(), default=0) < 0:
            return None
        return Size(self.factor // other.factor, tuple(sorted(rest.elements())))


Sizes = list[Size]


def product(sizes: Sizes) -> Size:
    """Return the number of elements of a tensor of these sizes."""
    return reduce(Size.__mul__, sizes, Size(1))


_MAX_RANK = 254  # of a tensor in TensorFlow

# Operations that combine values at the same place, counted from the last axis.
ELEMENTWISE = frozenset(
    """Abs Acos Acosh Add AddN AddV2 Asin Asinh AsString Atan Atan2 Atanh BiasAdd BitwiseAnd BitwiseOr
    BitwiseXor Cast Ceil CheckNumerics ClipByValue Cos Cosh DivNoNan Elu EnsureShape Equal Erf Erfc Exp Expm1
    Floor FloorDiv FloorMod Greater GreaterEqual IsFinite IsInf IsNan LeakyRelu Less LessEqual Log Log1p
    LogicalAnd LogicalNot LogicalOr Maximum Minimum Mul Neg NotEqual OnesLike Pow RealDiv Reciprocal Relu
    Relu6 Rint Round Rsqrt Select SelectV2 Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Square
    SquaredDifference StopGradient StringLength StringLower StringStrip StringToHashBucketFast StringUpper
    Sub Tan Tanh ZerosLike""".split()  # noqa: SIM905
)


def _may_be_sizes(tensor: Any) -> bool:
    """Tell whether this is a scalar or a short list of whole numbers that hold any size: a cast to fewer bits wraps."""
    is_wide = tensor.dtype.is_integer and tensor.dtype.size >= 4
    return is_wide and tensor.shape.rank in (0, 1) and (tensor.shape.num_elements() or 0) <= _MAX_RANK


class Shapes:
    """The sizes of all tensors of a graph, found in the order of its operations.

    Each has a number: another function, or another call of the same, has tensors of the same names and other sizes.
    """

    _numbers = count()

    def __init__(self, tf: Any, graph: Any) -> None:
        self._constant = tf.get_static_value
        self._number = next(self._numbers)
        self._sizes: dict[str, Sizes] = {}
        self._elements: dict[str, Sizes] = {}
        for op in graph.get_operations():
            for tensor in op.outputs:
                self._infer(op, tensor)

    def of(self, tensor: Any) -> Sizes | None:
        """Return the sizes of a tensor's dimensions; None if their number is not known."""
        return self._sizes.get(tensor.name)

    def elements(self, tensor: Any) -> Sizes | None:
        """Return the elements of a scalar or a list of whole numbers; None if one can't be followed."""
        if (found := self._elements.get(tensor.name)) is not None:
            return found
        if not _may_be_sizes(tensor) or (value := self._constant(tensor)) is None:
            return None
        return [Size(int(one)) for one in value.reshape(-1)]

    def reshaped(self, op: Any) -> Sizes | None:
        """Return the sizes of a Reshape's result where it is sure to succeed; None where that is not known."""
        before, target = self.of(op.inputs[0]), self.elements(op.inputs[1])
        if before is None or target is None:
            return None
        if Size(-1) not in target:
            return target if product(target) == product(before) else None
        place = target.index(Size(-1))
        rest = product(before).divided_by(product([*target[:place], *target[place + 1 :]]))
        return None if rest is None else [*target[:place], rest, *target[place + 1 :]]

    def _infer(self, op: Any, tensor: Any) -> None:
        elements = _ELEMENTS.get(op.type) if _may_be_sizes(tensor) else None
        found = elements(self, op) if elements else None
        if found is not None and len(found) == tensor.shape.num_elements():  # a product over no axis has all of them
            self._elements[tensor.name] = found
        if tensor.shape.rank is None:
            return
        result = _RESULTS.get(op.type) or (Shapes._elementwise if op.type in ELEMENTWISE else None)
        followed = (result and result(self, op)) or [None] * tensor.shape.rank
        self._sizes[tensor.name] = [
            Size(known) if known is not None else size or Size(1, ((self._number, tensor.name, axis),))
            for axis, (known, size) in enumerate(zip(tensor.shape, followed, strict=True))
        ]

    def _elementwise(self, op: Any) -> list[Size | None]:
        """Take each size from the inputs that have it; others repeat their only element."""
        rank = op.outputs[0].shape.rank
        inputs = [sizes for tensor in op.inputs if (sizes := self.of(tensor))]
        having = [{sizes[place] for sizes in inputs if len(sizes) >= -place} - {Size(1)} for place in range(-rank, 0)]
        return [sizes.pop() if len(sizes) == 1 else None for sizes in having]

    def _transposed(self, op: Any) -> Sizes | None:
        sizes, order = self.of(op.inputs[0]), self._constant(op.inputs[1])
        return [sizes[axis] for axis in order] if sizes and order is not None else None

    def _matrix(self, op: Any) -> list[Size | None] | None:
        sizes = None if op.get_attr("transpose_a") else self.of(op.inputs[0])
        return [sizes[0], None] if sizes else None

    def _joined(self, op: Any) -> Sizes | None:
        parts = [self.elements(tensor) for tensor in (op.inputs if op.type == "Pack" else op.inputs[:-1])]
        return [size for part in parts for size in part or []] if None not in parts else None

    def _gathered(self, op: Any) -> Sizes | None:
        whole, places = self.elements(op.inputs[0]), self._constant(op.inputs[1])
        if whole is None or places is None or not all(0 <= place < len(whole) for place in places.reshape(-1)):
            return None
        return [whole[place] for place in places.reshape(-1)]

    def _sliced(self, op: Any) -> Sizes | None:
        """Follow one element, or a part whose ends are given or left out."""
        whole, *bounds = self.elements(op.inputs[0]), *map(self._constant, op.inputs[1:])
        if whole is None or any(bound is None or bound.size != 1 for bound in bounds):
            return None
        begin, end, stride = (int(bound[0]) for bound in bounds)
        masks = {
            name: op.get_attr(f"{name}_mask") & 1 for name in ("begin", "end", "shrink_axis", "new_axis", "ellipsis")
        }
        if masks["new_axis"] or masks["ellipsis"]:
            return None
        if masks["shrink_axis"]:
            return [whole[begin]] if -len(whole) <= begin < len(whole) else None
        return whole[slice(None if masks["begin"] else begin, None if masks["end"] else end, stride)]

    def _multiplied(self, op: Any) -> Sizes | None:
        whole = self.elements(op.inputs[0])
        return None if whole is None else [product(whole)]


# What is known of a result's sizes beyond TensorFlow's own inference.
_RESULTS: dict[str, Callable[[Shapes, Any], Sequence[Size | None] | None]] = {
    "Identity": lambda shapes, op: shapes.of(op.inputs[0]),
    "MatMul": Shapes._matrix,
    "Reshape": Shapes.reshaped,
    "Transpose": Shapes._transposed,
}
# Operations on lists of sizes.
_ELEMENTS: dict[str, Callable[[Shapes, Any], Sizes | None]] = {
    "Cast": lambda shapes, op: shapes.elements(op.inputs[0]),
    "ConcatV2": Shapes._joined,
    "GatherV2": Shapes._gathered,
    "Identity": lambda shapes, op: shapes.elements(op.inputs[0]),
    "Pack": Shapes._joined,
    "Prod": Shapes._multiplied,
    "Shape": lambda shapes, op: shapes.of(op.inputs[0]),
    "StridedSlice": Shapes._sliced,
}
