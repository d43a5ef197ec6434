"""Routes: which methods and paths a function answers, and with which parameters.

Templates and their order are those of ASP.NET Core's routing, on which the Functions host is built. Starlette's router
does not fit: it has no optional parameters, defaults or precedence, distinguishes case, answers another method with 405
and adds HEAD to GET.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_BRACES = re.compile(r"\{([^{}]*)\}")
_PARAMETER = re.compile(
    r"(?P<stars>\*{0,2})(?P<name>[^:=?*]+)(?P<constraints>(?::[^:=?]+)*)(?:(?P<optional>\?)|=(?P<default>.*))?"
)

# How specific a segment is, as in ASP.NET Core's RoutePrecedence: of two routes for the same path, the one with the
# smaller number in the first segment that differs wins. A constraint on a whole segment makes the number one smaller.
_LITERAL, _MIXED, _PARAMETER_ONLY, _CATCH_ALL = 1, 2, 3, 5
# If one route is longer than the other, it wins: a rule of the Functions host.
_END = 6


class RouteError(ValueError):
    """An invalid route template; the text is one sentence that says why."""


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
    is_optional: bool
    default: str | None
    constraints: tuple[Callable[[str], bool], ...]

    @classmethod
    def parse(cls, text: str) -> "_Parameter":
        """Parse the text between braces: ``model``, ``x?``, ``id:int=1``, ``*path``. Raises RouteError."""
        found = _PARAMETER.fullmatch(text)
        if found is None:
            raise RouteError(f"{{{text}}} is not a parameter")
        names = found["constraints"].split(":")[1:]
        for unknown in set(names) - set(_CONSTRAINTS):
            raise RouteError(f"{{{text}}}: unknown constraint {unknown!r}; expected one of {', '.join(_CONSTRAINTS)}")
        return cls(
            name=found["name"],
            is_catch_all=bool(found["stars"]),
            is_optional=bool(found["stars"] or found["optional"]) or found["default"] is not None,
            default=found["default"],
            constraints=tuple(_CONSTRAINTS[name] for name in names),
        )


@dataclass(frozen=True)
class _Segment:
    """One segment of a template: what it matches, how specific it is and the parameters of the pattern's groups."""

    pattern: str
    specificity: int
    parameters: tuple[_Parameter, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "_Segment":
        """Parse what stands between slashes; raises RouteError."""
        literals = _BRACES.split(text)[::2]
        parameters = tuple(map(_Parameter.parse, _BRACES.findall(text)))
        if not text:
            raise RouteError("a route has no empty segments: no slash at its start or end, and no two in a row")
        if re.search("[{}]", "".join(literals)):
            raise RouteError(f"segment {text!r} has unbalanced braces")
        if not parameters:
            return cls("/" + re.escape(text), _LITERAL)
        if literals == ["", ""]:
            return cls._of_one_parameter(parameters[0])
        if any(parameter.is_optional for parameter in parameters):
            raise RouteError(f"segment {text!r}: an optional parameter or catch-all must be a whole segment")
        return cls("/" + "([^/]+)".join(map(re.escape, literals)), _MIXED, parameters)

    @classmethod
    def _of_one_parameter(cls, parameter: _Parameter) -> "_Segment":
        pattern = "/(.*)" if parameter.is_catch_all else "/([^/]+)"
        specificity = _CATCH_ALL if parameter.is_catch_all else _PARAMETER_ONLY
        return cls(
            f"(?:{pattern})?" if parameter.is_optional else pattern,
            specificity - bool(parameter.constraints),
            (parameter,),
        )


class Route:
    """A template such as ``api/models/{model}:predict``, and methods in upper case, or None for all methods."""

    def __init__(self, template: str, methods: tuple[str, ...] | None = None) -> None:
        segments = [_Segment.parse(segment) for segment in template.split("/")]
        if any(parameter.is_catch_all for segment in segments[:-1] for parameter in segment.parameters):
            raise RouteError(f"route {template!r}: only the last segment can be a catch-all")
        self.template = template
        self.methods = methods
        # Sorts before that of any less specific route.
        self.specificity = (*(segment.specificity for segment in segments), _END)
        self._parameters = [parameter for segment in segments for parameter in segment.parameters]
        pattern = "".join(segment.pattern for segment in segments)
        self._pattern = re.compile(pattern + "/?", re.DOTALL | re.IGNORECASE)

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the parameters in a decoded path, or None if the route does not match.

        Optional parameters that are absent and have no default are left out. Another method does not match either: to
        the Functions host, methods are a constraint of the route, so it answers 404 where other servers answer 405.
        """
        found = self._pattern.fullmatch(path) if self.methods is None or method in self.methods else None
        if found is None:
            return None
        values = {}
        for parameter, value in zip(self._parameters, found.groups(), strict=True):
            if value and not all(constraint(value) for constraint in parameter.constraints):
                return None
            text = value or parameter.default
            if text is not None:
                values[parameter.name] = text
        return values
