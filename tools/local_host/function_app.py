"""The function app as ``host.json`` and every ``function.json`` describe it. Imports no function."""

import os
from dataclasses import dataclass
from pathlib import Path

from tools.local_host.json_file import JsonObject
from tools.local_host.routes import Route, RouteError


@dataclass(frozen=True)
class Binding:
    """One binding of a ``function.json``; ``type`` is in lower case, because the Functions host ignores its case."""

    name: str
    type: str
    direction: str


@dataclass(frozen=True)
class HttpTrigger:
    """The HTTP trigger of a function."""

    # The Python parameter that receives the request.
    parameter: str
    # With the app's prefix.
    route: Route
    # Checked on Azure, not here.
    auth_level: str


@dataclass(frozen=True)
class FunctionConfig:
    """One function as its ``function.json`` describes it."""

    name: str
    directory: Path
    script_file: Path
    entry_point: str
    is_disabled: bool
    bindings: tuple[Binding, ...]
    # As written, such as ``warmupTrigger``.
    trigger_type: str
    # None for a function with another trigger.
    http: HttpTrigger | None

    @property
    def sample_request(self) -> str | None:
        """The text of the function's ``sample.dat``, in which Core Tools' v1 templates keep a sample body, or None."""
        path = self.directory / "sample.dat"
        return path.read_text(encoding="utf-8-sig").strip() if path.exists() else None


@dataclass(frozen=True)
class FunctionApp:
    """The app: its root folder, its log level as ``host.json`` names it, and its functions, sorted by name."""

    root: Path
    log_level: str
    functions: tuple[FunctionConfig, ...]

    @property
    def home(self) -> str | None:
        """The path of the page that the root leads to: that of the function ``Playground``, if there is one."""
        pages = [config.http for config in self.functions if config.name == "Playground" and not config.is_disabled]
        return next((f"/{page.route.template}" for page in pages if page), None)


def read(root: Path) -> FunctionApp:
    """Read the app in a folder; raises HostError, which names the file and what is wrong with it."""
    host = JsonObject.read(root / "host.json")
    route_prefix = host.section("extensions", "http").get("routePrefix", default="api").strip("/")
    return FunctionApp(
        root=root,
        log_level=host.section("logging", "logLevel").get("default", default="Information"),
        functions=tuple(_read_function(path, route_prefix) for path in sorted(root.glob("*/function.json"))),
    )


def _read_function(path: Path, route_prefix: str) -> FunctionConfig:
    file = JsonObject.read(path)
    directory = path.parent
    bindings = file.objects("bindings")
    triggers = [binding for binding in bindings if binding.get("type", default="").lower().endswith("trigger")]
    if len(triggers) != 1:
        raise file.error(f'"bindings" has {len(triggers)} triggers; expected one')
    return FunctionConfig(
        name=directory.name,
        directory=directory,
        # normpath, not resolve: "../shared/x.py" is a script in the app even if the folder is a symbolic link.
        script_file=Path(os.path.normpath(directory / (file.get("scriptFile", default="") or "__init__.py"))),
        entry_point=file.get("entryPoint", default="") or "main",
        is_disabled=file.get("disabled", default=False),
        bindings=tuple(_read_binding(binding) for binding in bindings),
        trigger_type=triggers[0].get("type", default=""),
        http=_read_http_trigger(triggers[0], directory.name, route_prefix),
    )


def _read_binding(binding: JsonObject) -> Binding:
    name = binding.get("name", default="")
    if not name:
        raise binding.error('a binding has no "name"')
    return Binding(
        name=name,
        type=binding.get("type", default="").lower(),
        direction=binding.get("direction", default="in"),
    )


def _read_http_trigger(trigger: JsonObject, function_name: str, route_prefix: str) -> HttpTrigger | None:
    if trigger.get("type", default="").lower() != "httptrigger":
        return None
    template = trigger.get("route", default="") or function_name
    methods = tuple(str(method).upper() for method in trigger.get("methods", default=[])) or None
    try:
        route = Route(f"{route_prefix}/{template}" if route_prefix else template, methods)
    except RouteError as error:
        raise trigger.error(f'"route": {error}') from error
    return HttpTrigger(
        parameter=trigger.get("name", default=""),
        route=route,
        auth_level=trigger.get("authLevel", default="function"),
    )
