"""A proof that no row of a batch depends on another, from a graph's operations.

Every tensor that depends on the inputs is followed with the axis along which its rows lie, into functions and through
loops, such as those of recurrent layers. An operation that ``row_rules`` does not know, or that mixes rows (a mean over
the batch, a sort of it, indexing into it), ends the proof, and requests are not batched then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from export.row_rules import NORMALIZATIONS, RULES, SIZES, Operation, Parts, Rule, State, TensorList, UnprovenError
from export.shapes import Shapes

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("StatelessWhile", "While")
# Operations with a state that give the same each time.
_READS = ("Assert", "HashTableV2", "LookupTableFindV2", "ReadVariableOp", "ResourceGather", "VarHandleOp")


def is_proven(tf: Any, function: Any) -> bool:
    """Return whether each row of a concrete function's outputs provably depends on the same row of its inputs only."""
    count = len(function.inputs) - len(function.captured_inputs)  # then variables and constants
    states: list[State] = [0] * count + [None] * len(function.captured_inputs)
    try:
        found = _outputs(tf, function.graph, states)
    except UnprovenError:
        return False
    return all(state == 0 for state in found[: len(function.outputs)])


def _outputs(tf: Any, graph: Any, inputs: list[State]) -> list[State]:
    """Follow a function's graph, and return the states of its outputs."""
    states = dict(zip((tensor.name for tensor in graph.inputs), inputs, strict=True))
    shapes = Shapes(tf, graph)
    for op in graph.get_operations():
        if not op.outputs or any(tensor.name not in states for tensor in op.outputs):  # one may write a variable
            found = _follow(tf, Operation(tf, op, _known(states, op.inputs), states, shapes))
            states |= dict(zip((tensor.name for tensor in op.outputs), found, strict=False))
    return _known(states, graph.outputs)


def _known(states: Mapping[str, State], tensors: Sequence[Any]) -> list[State]:
    """Return the states of tensors; raises UnprovenError where one is not known, as in a loop of TensorFlow 1."""
    for tensor in tensors:
        if tensor.name not in states:
            raise UnprovenError(tensor.op.type)
    return [states[tensor.name] for tensor in tensors]


def _follow(tf: Any, operation: Operation) -> list[State]:
    """Return the states of an operation's outputs; of a normalization, of the first only."""
    op, states = operation.op, operation.states
    if op.type in _CALLS:
        return _outputs(tf, _function(op, "f"), states)
    if op.type in _LOOPS:
        return _loop(tf, op, states)
    if op.type in ("Identity", "IdentityN"):
        return states
    state = _state(operation)
    count = 1 if op.type in NORMALIZATIONS else len(op.outputs)  # it may leave the others uninitialized
    if any(_is_fixed(tensor, state) for tensor in op.outputs[:count]):
        raise UnprovenError(op.type)
    return [state] * count


def _is_fixed(tensor: Any, state: State) -> bool:
    """Tell whether a tensor can't have any number of rows."""
    axis = 0 if isinstance(state, Parts) else state
    return isinstance(axis, int) and tensor.shape.rank is not None and tensor.shape[axis] is not None


def _state(operation: Operation) -> State:
    kind = operation.op.type
    if kind != "TensorListReserve" and all(state is None for state in operation.states):
        # Random numbers of as many rows as there happen to be, or a branch that may have them.
        if kind.startswith("Stateless") or (operation.op.op_def.is_stateful and kind not in _READS):
            raise UnprovenError(kind)
        return None
    for types, rule in RULES:
        if kind in types:
            return rule(operation) if kind == "Reshape" else _with_parts(operation, rule)
    raise UnprovenError(kind)


def _with_parts(operation: Operation, rule: Rule) -> State:
    """Apply a rule; what keeps rows apart along the first axis does so with the parts of rows."""
    parts = {state for state in operation.states if isinstance(state, Parts)}
    if not parts:
        return rule(operation)
    states: list[State] = [0 if isinstance(state, Parts) else state for state in operation.states]
    found = rule(replace(operation, states=states))
    if len(parts) > 1 or 0 in operation.states or found not in (0, SIZES):
        raise UnprovenError(operation.op.type)
    return parts.pop() if found == 0 else found


def _loop(tf: Any, op: Any, before: list[State]) -> list[State]:
    """Rows stay apart if each turn leaves them where they are, and nothing of them decides how many turns there are."""
    body = _function(op, "body")
    after = _outputs(tf, body, before)
    # The first turn puts rows into lists; the second must find everything as it leaves it.
    states = [new if old == TensorList() else old for old, new in zip(before, after, strict=True)]
    if _outputs(tf, body, states) != states or _outputs(tf, _function(op, "cond"), states) != [None]:
        raise UnprovenError(op.type)
    return states


def _function(op: Any, attribute: str) -> Any:
    return op.graph._get_function(op.get_attr(attribute).name).graph  # there is no public way
