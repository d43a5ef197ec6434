"""What a SavedModel's graph may do: compute. Checked in its bytes before TensorFlow loads it.

A SavedModel is a program: it can read and write files, and running one that nobody checked is running foreign code.
Every operation that a signature or the loading itself reaches must be in ``allowed_ops.txt``: TensorFlow's operations
that only compute, with lookup tables, random numbers and control flow. Field numbers are those of ``meta_graph.proto``,
``graph.proto``, ``function.proto``, ``node_def.proto`` and ``attr_value.proto`` in ``tensorflow/core``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from serving.engines.protobuf import fields, map_entry, text
from serving.engines.signature import find_meta_graph

# What the loader itself runs to read the variables, which TensorFlow writes into every SavedModel.
_RESTORE = frozenset({"RestoreV2", "Restore", "RestoreSlice", "ShardedFilename"})

# Reads a vocabulary: allowed of the SavedModel's own assets only.
_READS_ASSETS = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})

_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


class UnsafeGraphError(Exception):
    """The graph has an operation that may do more than compute; the message names it."""


@dataclass
class _Node:
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)


@dataclass
class _Graph:
    nodes: dict[str, _Node] = field(default_factory=dict)
    functions: dict[str, list[_Node]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)  # of signatures and of what initializes
    restore: str = ""
    assets: set[str] = field(default_factory=set)  # names of nodes that hold an asset's path


@cache
def allowed_ops() -> frozenset[str]:
    """Return the operations that only compute."""
    return frozenset(Path(__file__).with_name("allowed_ops.txt").read_text(encoding="ascii").split())


def check(saved_model: bytes | memoryview, tag: str) -> None:
    """Raise UnsafeGraphError for a ``saved_model.pb`` with operations beyond those; ValueError where it is none."""
    graph = _read(find_meta_graph(saved_model, tag))
    _check_ops(_reachable(graph, graph.outputs), allowed_ops())
    _check_ops(_reachable(graph, [graph.restore]), allowed_ops() | _RESTORE)
    _check_assets(graph)


def _check_ops(nodes: Iterable[_Node], allowed: frozenset[str]) -> None:
    found = sorted({node.op for node in nodes} - allowed)
    if found:
        raise UnsafeGraphError(f"its graph has the operation {found[0]}, which may do more than compute")


def _check_assets(graph: _Graph) -> None:
    readers = {name for name, nodes in graph.functions.items() if any(node.op in _READS_ASSETS for node in nodes)}
    for node in graph.nodes.values():
        paths = node.inputs[1:2] if node.op in _READS_ASSETS else []
        if readers & {node.op, *node.functions}:
            paths = node.inputs
        for path in map(_node_name, paths):
            if path not in graph.assets and graph.nodes.get(path, _Node()).op in ("Const", "Placeholder", "Identity"):
                raise UnsafeGraphError("its graph reads a file that is not among its assets")
    called = {name for nodes in graph.functions.values() for node in nodes for name in (node.op, *node.functions)}
    constant = any(
        node.op in _READS_ASSETS and any(_node_name(path) in constants for path in node.inputs[1:2])
        for name in readers
        for constants in [_constants(graph.functions[name])]
        for node in graph.functions[name]
    )
    if readers & called or constant:
        raise UnsafeGraphError("its graph reads a file that is not among its assets")


def _constants(nodes: Iterable[_Node]) -> set[str]:
    return {node.inputs[0] for node in nodes if node.op == "Const" and node.inputs}


def _reachable(graph: _Graph, outputs: Iterable[str]) -> Iterator[_Node]:
    """Yield the nodes that these outputs need, and all nodes of the functions that they call."""
    waiting, seen = [_node_name(name) for name in outputs if name], set()
    while waiting:
        name = waiting.pop()
        node = graph.nodes.get(name)
        if name in seen or node is None:
            continue
        seen.add(name)
        yield from _expanded(graph, node, seen)
        waiting += map(_node_name, node.inputs)


def _expanded(graph: _Graph, node: _Node, seen: set[str]) -> Iterator[_Node]:
    if node.op not in graph.functions:
        yield node
    for function in (node.op, *node.functions):
        key = f"function {function}"
        if function in graph.functions and key not in seen:
            seen.add(key)
            for inner in graph.functions[function]:
                yield from _expanded(graph, inner, seen)


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _read(meta_graph: memoryview) -> _Graph:
    graph = _Graph()
    for number, value in fields(meta_graph):
        if number == 2:  # GraphDef graph_def
            _read_graph(graph, value)
        elif number == 3:  # SaverDef saver_def, whose field 3 is restore_op_name
            graph.restore = next((text(name) for key, name in fields(value) if key == 3), "")
        elif number == 4:  # map<string, CollectionDef> collection_def
            key, collection = map_entry(value)
            if key in _INIT_COLLECTIONS:  # NodeList node_list, of strings
                graph.outputs += [text(name) for _, nodes in fields(collection) for _, name in fields(nodes)]
        elif number == 5:  # map<string, SignatureDef> signature_def, with outputs in field 2
            outputs = [map_entry(entry)[1] for key, entry in fields(map_entry(value)[1]) if key == 2]
            graph.outputs += [text(name) for info in outputs for key, name in fields(info) if key == 1]
        elif number == 6:  # AssetFileDef: TensorInfo tensor_info, string filename
            _read_asset(graph, value)
    return graph


def _read_asset(graph: _Graph, data: memoryview) -> None:
    for number, value in fields(data):
        if number == 1:
            graph.assets |= {_node_name(text(name)) for key, name in fields(value) if key == 1}
        elif number == 2 and ("/" in text(value) or "\\" in text(value)):
            raise UnsafeGraphError("one of its assets lies outside of its folder")


def _read_graph(graph: _Graph, data: memoryview) -> None:
    for number, value in fields(data):
        if number == 1:  # NodeDef node
            name, node = _read_node(value)
            graph.nodes[name] = node
        elif number == 2:  # FunctionDefLibrary library, with FunctionDef function in field 1
            for key, function in fields(value):
                if key == 1:
                    name, nodes = _read_function(function)
                    graph.functions[name] = nodes


def _read_function(data: memoryview) -> tuple[str, list[_Node]]:
    name, nodes = "", []
    for number, value in fields(data):
        if number == 1:  # OpDef signature, whose field 1 is the name
            name = next((text(part) for key, part in fields(value) if key == 1), "")
        elif number == 3:  # NodeDef node_def
            node_name, node = _read_node(value)
            if node.op == "Const":
                node.inputs = [node_name]  # it has none; kept to find what reads a constant path
            nodes.append(node)
    return name, nodes


def _read_node(data: memoryview) -> tuple[str, _Node]:
    name, node = "", _Node()
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            node.op = text(value)
        elif number == 3:
            node.inputs.append(text(value))
        elif number == 5:  # map<string, AttrValue> attr
            node.functions += _functions(map_entry(value)[1])
    return name, node


def _functions(attribute: memoryview) -> Iterator[str]:
    """Yield the functions that an attribute names: NameAttrList func, or a list of them."""
    for number, value in fields(attribute):
        if number == 10:
            yield from (text(name) for key, name in fields(value) if key == 1)
        elif number == 1:  # ListValue list, whose field 9 is func
            lists = [entry for key, entry in fields(value) if key == 9]
            yield from (text(name) for entry in lists for key, name in fields(entry) if key == 1)
