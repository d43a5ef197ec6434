"""Routes: which function answers a method and a path. Knows no HTTP server, no file and no function.

Templates and their order are those of ASP.NET Core's routing, which the Functions host is built on.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Target = TypeVar("Target")

_PARTS = re.compile(r"\{(?P<parameter>[^{}]*)\}|(?P<literal>[^{}]+)")
_PARAMETER = re.compile(
    r"(?P<catch_all>\*{0,2})(?P<name>[^:=?*]+)(?P<constraints>(?::[^:=?]+)*)(?:(?P<optional>\?)|=(?P<default>.*))?"
)

# How specific a segment is, as in ASP.NET Core's RoutePrecedence: of two routes for the same path, the one with the
# smaller number in the first segment where they differ wins.
_LITERAL, _MIXED_OR_CONSTRAINED, _PARAMETER_ONLY, _CONSTRAINED_CATCH_ALL, _CATCH_ALL = range(1, 6)
# Where one of the two has no segment left, the longer one wins: the Functions host's own rule.
_END = 6


class RouteError(ValueError):
    """A route template that can't be used; the text is one sentence which says why."""


def _is_integer_of(bits: int) -> Callable[[str], bool]:
    limit = 2 ** (bits - 1)
    return lambda value: re.fullmatch("[+-]?[0-9]+", value) is not None and -limit <= int(value) < limit


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value, re.ASCII | re.IGNORECASE) is not None


_HEX_GROUPS = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_CONSTRAINTS: dict[str, Callable[[str], bool]] = {
    "alpha": _matches("[a-z]*"),
    "bool": _matches("true|false"),
    "guid": _matches(rf"{_HEX_GROUPS}|\{{{_HEX_GROUPS}\}}|\({_HEX_GROUPS}\)|[0-9a-f]{{32}}"),
    "int": _is_integer_of(bits=32),
    "long": _is_integer_of(bits=64),
}


@dataclass(frozen=True)
class _Parameter:
    name: str
    is_catch_all: bool
    constraints: tuple[Callable[[str], bool], ...]
    is_optional: bool
    default: str | None

    @classmethod
    def parse(cls, text: str) -> "_Parameter":
        """Parse what stands between braces: ``model``, ``x?``, ``id:int=1``, ``*path``. Raises RouteError."""
        found = _PARAMETER.fullmatch(text)
        if found is None:
            raise RouteError(f"{{{text}}} is no parameter")
        names = found["constraints"].split(":")[1:]
        for unknown in set(names) - set(_CONSTRAINTS):
            raise RouteError(f"{{{text}}}: constraint {unknown!r} is unknown; known are {', '.join(_CONSTRAINTS)}")
        return cls(
            name=found["name"],
            is_catch_all=bool(found["catch_all"]),
            constraints=tuple(_CONSTRAINTS[name] for name in names),
            is_optional=bool(found["catch_all"] or found["optional"]) or found["default"] is not None,
            default=found["default"],
        )

    def accepts(self, value: str) -> bool:
        return all(constraint(value) for constraint in self.constraints)


_Segment = list[str | _Parameter]


@dataclass(frozen=True)
class RouteTemplate:
    """A route template such as ``api/models/{model}:predict``."""

    # As it was written.
    text: str
    # Matches the paths the template could be for, one group a parameter.
    pattern: re.Pattern[str]
    # In the order of the groups.
    parameters: tuple[_Parameter, ...]
    # Sorts before that of any less specific template.
    specificity: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "RouteTemplate":
        """Parse a template; raises RouteError when it isn't one."""
        segments = [_parse_segment(segment) for segment in text.split("/")]
        for segment in segments[:-1]:
            if any(isinstance(part, _Parameter) and part.is_catch_all for part in segment):
                raise RouteError(f"route {text!r}: only the last segment can be a catch-all")
        return cls(
            text=text,
            pattern=re.compile("".join(map(_segment_pattern, segments)) + "/?", re.DOTALL | re.IGNORECASE),
            parameters=tuple(part for segment in segments for part in segment if isinstance(part, _Parameter)),
            specificity=(*map(_segment_specificity, segments), _END),
        )

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters in a decoded path, or None when the path is not this route's.

        Absent optional parameters are left out, unless they have a default.
        """
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values = {}
        for parameter, value in zip(self.parameters, found.groups(), strict=True):
            if value:
                if not parameter.accepts(value):
                    return None
                values[parameter.name] = value
            elif parameter.default is not None:
                values[parameter.name] = parameter.default
        return values


def _parse_segment(text: str) -> _Segment:
    parts: _Segment = []
    position = 0
    while found := _PARTS.match(text, position):
        parts.append(found["literal"] or _Parameter.parse(found["parameter"]))
        position = found.end()
    if position < len(text):
        raise RouteError(f"segment {text!r} has unbalanced braces")
    if not parts:
        raise RouteError("a route has no empty segments: no slash at its start or end, no two in a row")
    if len(parts) > 1 and any(isinstance(part, _Parameter) and part.is_optional for part in parts):
        raise RouteError(f"segment {text!r}: an optional parameter or catch-all must be a segment of its own")
    return parts


def _segment_pattern(segment: _Segment) -> str:
    match segment:
        case [_Parameter(is_catch_all=True)]:
            return "(?:/(.*))?"
        case [_Parameter(is_optional=True)]:
            return "(?:/([^/]+))?"
    return "/" + "".join(re.escape(part) if isinstance(part, str) else "([^/]+)" for part in segment)


def _segment_specificity(segment: _Segment) -> int:
    match segment:
        case [str()]:
            return _LITERAL
        case [_Parameter(is_catch_all=True, constraints=constraints)]:
            return _CONSTRAINED_CATCH_ALL if constraints else _CATCH_ALL
        case [_Parameter(constraints=())]:
            return _PARAMETER_ONLY
    return _MIXED_OR_CONSTRAINED


@dataclass(frozen=True)
class Route(Generic[Target]):
    """What answers the given methods, in upper case, or with None all methods, on a template's paths."""

    template: RouteTemplate
    methods: tuple[str, ...] | None
    target: Target


class Router(Generic[Target]):
    """Finds the most specific route for a request."""

    def __init__(self, routes: Iterable[Route[Target]]) -> None:
        self._routes = sorted(routes, key=lambda route: route.template.specificity)

    def find(self, method: str, path: str) -> tuple[Target, dict[str, str]] | None:
        """Return the target for a method and a decoded path with the route's parameters, or None.

        A route for other methods is passed over as if its path did not match: to the Functions host, too, the methods
        are one more constraint of the route, so it answers 404 where other servers answer 405.
        """
        for route in self._routes:
            if route.methods is None or method in route.methods:
                parameters = route.template.match(path)
                if parameters is not None:
                    return route.target, parameters
        return None
