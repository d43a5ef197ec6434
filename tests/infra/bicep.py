"""Reads a Bicep file: what it declares, which names it uses, and its values as Python's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

INFRA = Path(__file__).resolve().parents[2] / "infra"
FILES = sorted(path.name for path in INFRA.glob("*.bicep"))

# Bicep's own functions and decorators, of those that the files use. Any other name has to be declared.
BUILT_IN = {
    *("empty", "guid", "loadTextContent", "subscription", "subscriptionResourceId", "tenant", "toLower", "union"),
    *("uniqueString", "allowed", "description", "maxLength", "maxValue", "metadata", "minLength", "minValue"),
}

_DECLARATIONS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}


@dataclass(frozen=True)
class Declaration:
    """One param, var, resource, module or output; ``node`` is tree-sitter's."""

    kind: str
    name: str
    node: Any

    @property
    def has_default(self) -> bool:
        """Whether a param may be left out."""
        return any(child.type == "=" for child in self.node.children)

    @property
    def type(self) -> str:
        """The type and API version of a resource, or a module's file."""
        return next(_text(child).strip("'") for child in self.node.children if child.type == "string")

    @property
    def body(self) -> Any:
        """The object that a resource or a module is declared with; one of a loop or a condition, too."""
        return value(next(_of_type(self.node, "object")))


@dataclass(frozen=True)
class Bicep:
    """A Bicep file, parsed."""

    root: Any

    @classmethod
    @cache
    def read(cls, name: str) -> Bicep:
        """Parse a file of ``infra/``."""
        import tree_sitter
        import tree_sitter_bicep

        parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
        return cls(parser.parse((INFRA / name).read_bytes()).root_node)

    def errors(self) -> list[str]:
        """Return the places that are no Bicep."""
        nodes = [node for node in _walk(self.root) if node.is_error or node.is_missing]
        return [f"line {node.start_point[0] + 1}: {_text(node)!r}" for node in nodes]

    def declared(self, kind: str) -> dict[str, Declaration]:
        """Return the params, vars, resources, modules or outputs by name."""
        nodes = (node for node in self.root.children if _DECLARATIONS.get(node.type) == kind)
        named = ((_text(next(_of_type(node, "identifier"))), node) for node in nodes)
        return {name: Declaration(kind, name, node) for name, node in named}

    def used(self) -> set[str]:
        """Return the names that the file's expressions use, loops' own left out."""
        return {_text(node) for node in _walk(self.root) if node.type == "identifier" and not _is_name_of_its_own(node)}

    def outputs_used(self) -> set[tuple[str, str]]:
        """Return the modules' outputs that are used, as pairs of a module's name and an output's."""
        paths = (_text(node).split(".") for node in _walk(self.root) if node.type == "member_expression")
        return {(path[0], path[2]) for path in paths if len(path) == 3 and path[1] == "outputs"}

    def resource(self, name: str) -> Any:
        """Return a resource's properties and the rest of its body."""
        return self.declared("resource")[name].body


def value(node: Any) -> Any:
    """Return a literal as Python's own; any other expression as its text."""
    match node.type:
        case "object":
            pairs = (child.named_children for child in node.named_children if child.type == "object_property")
            return {_text(pair[0]).strip("'"): value(pair[-1]) for pair in pairs}
        case "array":
            return [value(child) for child in node.named_children if child.type != "comment"]
        case "boolean":
            return _text(node) == "true"
        case "number":
            return int(_text(node))
        case "string":
            return _text(node)[1:-1]
    return _text(node)


def _is_name_of_its_own(node: Any) -> bool:
    """Return whether an identifier is what a declaration declares, a property's name or a loop's variable."""
    parent = node.parent
    if parent.type in _DECLARATIONS:
        return bool(node == next(_of_type(parent, "identifier")))
    if parent.type == "object_property":
        return bool(node == parent.children[0])
    loops = (one for one in _ancestors(node) if one.type == "for_statement")
    return any(_text(node) == _text(next(_of_type(loop, "identifier"))) for loop in loops)


def _ancestors(node: Any) -> Iterator[Any]:
    while node.parent is not None:
        node = node.parent
        yield node


def _of_type(node: Any, kind: str) -> Iterator[Any]:
    return (one for one in _walk(node) if one.type == kind)


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Any) -> str:
    return str(node.text.decode())
