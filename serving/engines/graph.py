"""What a SavedModel's graph may do: compute. Checked in its bytes before TensorFlow loads it. And whether it is quick.

A SavedModel is a program: it can read and write files, and running one that nobody checked is running foreign code.
Every operation that a signature or the loading itself reaches must be in ``allowed_ops.txt``: TensorFlow's operations
that only compute, with lookup tables, random numbers and control flow. Field numbers are those of ``meta_graph.proto``,
``graph.proto``, ``function.proto``, ``node_def.proto`` and ``attr_value.proto`` in ``tensorflow/core``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from serving.engines import SAVED_MODEL
from serving.engines.errors import FailedPreconditionError
from serving.engines.protobuf import fields, map_entry, text
from serving.engines.signature import INTERNAL_PREFIX, find_meta_graph

# What the loader itself runs to read the variables, which TensorFlow writes into every SavedModel.
_RESTORE = frozenset({"RestoreV2", "Restore", "RestoreSlice", "ShardedFilename"})

# Reads a vocabulary: allowed while the SavedModel is loaded, of its own assets only. TensorFlow then replaces the path
# in the graph by that of the asset.
_READS_ASSETS = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})

# What a run needs to be there. Other tables are empty at first.
_STATE = frozenset({"VarHandleOp", "Variable", "VariableV2", "HashTable", "HashTableV2"})
_ASSIGNS = frozenset({"Assign", "AssignVariableOp"})

# What passes an asset's path on to what reads it, unchanged.
_PASSES = frozenset({"Identity", "VarHandleOp", "AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp", "NoOp"})

# As large as the values of these operands say.
_SIZED_BY = {
    **dict.fromkeys(("Fill", "RandomUniform", "RandomStandardNormal", "Conv2DBackpropInput"), (0,)),
    **dict.fromkeys(("Tile", "BroadcastTo", "Pad", "PadV2", "MirrorPad", "OneHot"), (1,)),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"), (1,)),
    **dict.fromkeys(("SpaceToBatchND", "BatchToSpaceND"), (1, 2)),
    "LinSpace": (2,),
    "Range": (0, 1, 2),
}

# What does not depend on the values of an input, whatever its own inputs are.
_KNOWN = frozenset({"Const", "Shape", "ShapeN", "Size", "Rank"})

_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_OLD_ASSETS = "saved_model_assets"


class UnsafeGraphError(Exception):
    """The graph has an operation that may do more than compute; the message names it."""


@dataclass
class _Node:
    op: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    shared_name: str = ""

    @property
    def state(self) -> str:
        """The name of a variable or table, under which other nodes have it too."""
        return self.shared_name if self.op == "VarHandleOp" else self.shared_name or self.name


@dataclass
class _Graph:
    nodes: dict[str, _Node] = field(default_factory=dict)
    functions: dict[str, memoryview] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)  # of signatures
    init: list[str] = field(default_factory=list)  # what initializes
    restore: list[str] = field(default_factory=list)
    assets: dict[str, str] = field(default_factory=dict)  # file names by the node that holds the path
    bodies: dict[str, list[_Node]] = field(default_factory=dict)

    def body(self, function: str) -> list[_Node]:
        """Return a function's nodes, which are read when they are first asked for: most functions are never called."""
        if function not in self.bodies:
            nodes = [value for number, value in fields(self.functions[function]) if number == 3]  # NodeDef node_def
            self.bodies[function] = list(map(_read_node, nodes))
        return self.bodies[function]

    def called(self, node: _Node) -> list[str]:
        """Return the functions that a node calls."""
        return [name for name in (node.op, *node.functions) if name in self.functions]


@cache
def allowed_ops() -> frozenset[str]:
    """Return the operations that only compute."""
    return _listed("allowed_ops.txt")


@cache
def bounded_ops() -> frozenset[str]:
    """Return operations whose time and memory the size of their inputs bounds. A graph with others runs in a thread."""
    return _listed("bounded_ops.txt")


def _listed(file: str) -> frozenset[str]:
    return frozenset(Path(__file__).with_name(file).read_text(encoding="ascii").split())


def check(saved_model: Path, tag: str, is_trusted: bool = False) -> bool:
    """Check the graph that TensorFlow loads from a SavedModel's folder by a tag, unless it is trusted.

    Returns whether the size of the inputs bounds the time of a run. Raises UnsafeGraphError for operations beyond
    ``allowed_ops``, FailedPreconditionError where every run would lack a variable or a table, OSError or ValueError
    where ``saved_model.pb`` can't be read.
    """
    graph = _read(find_meta_graph((saved_model / SAVED_MODEL).read_bytes(), tag))
    runs, inits, restores = (list(_reachable(graph, names)) for names in (graph.outputs, graph.init, graph.restore))
    if is_trusted:
        return _is_bounded(graph, runs)
    _check_ops(graph, runs, allowed_ops() - _READS_ASSETS)
    _check_ops(graph, inits, allowed_ops())
    _check_ops(graph, restores, (allowed_ops() | _RESTORE) - _READS_ASSETS)
    _check_assets(graph, inits, saved_model / "assets")
    _check_state(runs, [*inits, *restores])
    return _is_bounded(graph, runs)


def _is_bounded(graph: _Graph, runs: Iterable[_Node]) -> bool:
    """Return whether the graph has no loop, no sort, and no shape that depends on an input's values."""
    called = {name for node in runs for name in graph.called(node)}
    scopes = [graph.nodes, *({node.name: node for node in graph.body(name)} for name in called)]
    scope_of = {id(node): scope for scope in scopes for node in scope.values()}
    return all(
        node.op in bounded_ops() or node.op in called or _has_known_size(node, scope_of.get(id(node), {}))
        for node in runs
    )


def _has_known_size(node: _Node, scope: Mapping[str, _Node]) -> bool:
    """Return whether a node's size does not depend on the values of inputs. A function's arguments are in no scope."""
    operands = [node.inputs[index] for index in _SIZED_BY.get(node.op, ()) if index < len(node.inputs)]
    waiting, seen = list(map(_node_name, operands)), set[str]()
    while waiting:
        name = waiting.pop()
        source = scope.get(name)
        if source is None or (source.op not in _KNOWN and not source.inputs):
            return False
        if name not in seen and source.op not in _KNOWN:
            waiting += map(_node_name, source.inputs)
        seen.add(name)
    return bool(operands)


def _check_ops(graph: _Graph, nodes: Iterable[_Node], allowed: frozenset[str]) -> None:
    found = sorted({node.op for node in nodes} - allowed - graph.functions.keys())
    if found:
        raise UnsafeGraphError(f"its graph has the operation {found[0]}, which may do more than compute")


def _check_assets(graph: _Graph, nodes: Collection[_Node], folder: Path) -> None:
    """Raise UnsafeGraphError for a vocabulary whose path may be another than that of an asset."""
    outer = {id(node) for node in graph.nodes.values()}
    hides_variable = any(node.op == "VarHandleOp" and id(node) not in outer for node in nodes)
    for node in nodes:
        calls_reader = any(inner.op in _READS_ASSETS for name in graph.called(node) for inner in graph.body(name))
        paths = node.inputs[1:2] if node.op in _READS_ASSETS else node.inputs if calls_reader else []
        if id(node) in outer:
            is_safe = all(_is_asset(graph, path) or _is_table(graph, path) for path in paths)
        else:  # in a function, which gets the path as an argument: only the names of other tensors have a colon
            is_safe = not calls_reader and not any(":" in path for path in paths)
        if not is_safe or (paths and hides_variable):
            raise UnsafeGraphError("its graph reads a file that is not among its assets")
    for name in graph.assets.values():
        if (folder / name).resolve().parent != folder.resolve():
            raise UnsafeGraphError(f"its asset {name} lies outside of its folder")


def _is_table(graph: _Graph, tensor: str) -> bool:
    node = graph.nodes.get(_node_name(tensor))
    return node is not None and node.op == "HashTableV2"


def _is_asset(graph: _Graph, tensor: str) -> bool:
    """Whether a tensor can be nothing but an asset's path, on the ways that TensorFlow writes: also by a variable."""
    waiting, seen, assets = [_node_name(tensor)], set[str](), 0
    while waiting:
        name = waiting.pop()
        if name in graph.assets:
            assets += 1
        elif name not in seen:
            seen.add(name)
            node = graph.nodes.get(name, _Node())
            if node.op not in _PASSES:
                return False
            waiting += map(_node_name, node.inputs)
            waiting += _users(graph, node) if node.op == "VarHandleOp" else []
    return assets > 0


def _users(graph: _Graph, variable: _Node) -> list[str]:
    """Return the nodes that use a variable, which may have several nodes."""
    handles = {node.name for node in graph.nodes.values() if node.op in _STATE and node.state == variable.state}
    return [node.name for node in graph.nodes.values() if handles & set(map(_node_name, node.inputs))]


def _check_state(runs: Iterable[_Node], loads: Iterable[_Node]) -> None:
    """Raise FailedPreconditionError where a run needs a variable or table that nothing restores or initializes."""
    found = {node.state for node in loads}
    missing = [node for node in runs if node.op in _STATE and node.state not in found]
    if missing and not any(node.op in _ASSIGNS for node in runs):
        kind = "table" if "Table" in missing[0].op else "variable"
        raise FailedPreconditionError(
            f"nothing restores or initializes its {kind} {missing[0].state!r}; save the model again, "
            "with its variables and an operation that initializes its tables"
        )


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
    yield node
    for function in graph.called(node):
        key = f"function {function}"
        if key not in seen:
            seen.add(key)
            for inner in graph.body(function):
                yield from _expanded(graph, inner, seen)


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _read(meta_graph: memoryview) -> _Graph:
    graph, assets, old_assets = _Graph(), [], []
    for number, value in fields(meta_graph, once=(2, 3)):
        if number == 2:  # GraphDef graph_def
            _read_graph(graph, value)
        elif number == 3:  # SaverDef saver_def, whose field 3 is restore_op_name
            graph.restore = _texts(value, 3)
        elif number == 4:  # map<string, CollectionDef> collection_def
            key, collection = map_entry(value)
            if key in _INIT_COLLECTIONS:  # NodeList node_list, of strings
                graph.init += [text(name) for _, nodes in fields(collection) for _, name in fields(nodes)]
            elif key == _OLD_ASSETS:
                old_assets = _any_list(collection)
        elif number == 5:  # map<string, SignatureDef> signature_def
            _read_signature(graph, *map_entry(value))
        elif number == 6:  # AssetFileDef asset_file_def
            assets.append(value)
    for asset in assets or old_assets:  # TensorFlow reads the collection of TensorFlow 1 only without the others
        _read_asset(graph, asset)
    return graph


def _any_list(collection: memoryview) -> list[memoryview]:
    """Return the values of a CollectionDef's AnyList any_list; raises ValueError where it may be another list."""
    kinds = list(fields(collection))
    if [number for number, _ in kinds] not in ([], [5]):
        raise ValueError(f"the collection {_OLD_ASSETS} has no list of assets")
    anys = [entry for _, entries in kinds for _, entry in fields(entries)]
    return [value for entry in anys for number, value in fields(entry, once=(2,)) if number == 2]


def _read_signature(graph: _Graph, key: str, signature: memoryview) -> None:
    outputs = [map_entry(entry)[1] for number, entry in fields(signature) if number == 2]
    names = graph.init if key.startswith(INTERNAL_PREFIX) else graph.outputs
    names += [name for info in outputs for name in _texts(info, 1)]


def _texts(data: memoryview, wanted: int) -> list[str]:
    """Return the text of a field, which occurs once; nothing where it is absent."""
    return [text(value) for number, value in fields(data, once=(wanted,)) if number == wanted]


def _read_asset(graph: _Graph, data: memoryview) -> None:
    for number, info in fields(data, once=(1,)):
        if number == 1:  # TensorInfo tensor_info; the other field is string filename
            for tensor in _texts(info, 1):
                graph.assets[_node_name(tensor)] = "".join(_texts(data, 2))


def _read_graph(graph: _Graph, data: memoryview) -> None:
    for number, value in fields(data, once=(2,)):
        if number == 1:  # NodeDef node
            node = _read_node(value)
            graph.nodes[node.name] = node
        elif number == 2:  # FunctionDefLibrary library, with FunctionDef function in field 1
            for key, function in fields(value):
                if key == 1:
                    _read_function(graph, function)


def _read_function(graph: _Graph, data: memoryview) -> None:
    # OpDef signature, whose field 1 is the name
    names = [name for key, value in fields(data, once=(1,)) if key == 1 for name in _texts(value, 1)]
    for name in names:
        if name in graph.functions:
            raise ValueError(f"the function {name} occurs twice")
        graph.functions[name] = data


def _read_node(data: memoryview) -> _Node:
    node = _Node()
    for number, value in fields(data, once=(1, 2)):
        if number == 1:
            node.name = text(value)
        elif number == 2:
            node.op = text(value)
        elif number == 3:
            node.inputs.append(text(value))
        elif number == 5:  # map<string, AttrValue> attr
            key, attribute = map_entry(value)
            node.functions += _functions(attribute)
            if key == "shared_name":  # AttrValue's field 2 is bytes s
                node.shared_name = "".join(_texts(attribute, 2))
    return node


def _functions(attribute: memoryview) -> Iterator[str]:
    """Yield the functions that an attribute names, and those in the attributes that it passes to them."""
    for number, value in fields(attribute):
        functions = [value] if number == 10 else []  # NameAttrList func
        if number == 1:  # ListValue list, whose field 9 is func
            functions = [function for key, function in fields(value) if key == 9]
        for function in functions:
            yield from _texts(function, 1)
            for key, entry in fields(function):
                if key == 2:  # map<string, AttrValue> attr
                    yield from _functions(map_entry(entry)[1])
