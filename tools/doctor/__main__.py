"""``python -m tools.doctor``: prints what is right with the app, what will fail on Azure, and how to fix it."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from serving.settings import APP_ROOT, ConfigurationError, Settings
from serving.store_url import StoreUrl
from tools.doctor import app_settings, functions, interpreter, libraries, limits, models, package, store
from tools.doctor.finding import Finding, Level, problem, summary, text_of
from tools.doctor.plans import PLANS
from tools.package.site_packages import FOLDER

Section = tuple[str, list[Finding]]


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ, root: Path = APP_ROOT) -> int:
    """Print the findings in sections; return 1 if there is a problem, else 0."""
    options = _parser().parse_args(arguments)
    packages = root / FOLDER
    if packages.is_dir() and os.fspath(packages) not in sys.path:
        sys.path.insert(0, os.fspath(packages))  # as Azure's worker does
    findings = []
    for title, section in examine(root, environ, options):
        findings += section
        if section:
            print(f"{text_of(title, section)}\n", flush=True)
    print(summary(findings))
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def examine(root: Path, environ: Mapping[str, str], options: argparse.Namespace) -> Iterator[Section]:
    """Yield the title and the findings of each section, as soon as it is checked."""
    with tempfile.TemporaryDirectory() as scratch:
        yield from _sections(root, environ, options, Path(scratch))


def _sections(root: Path, environ: Mapping[str, str], options: argparse.Namespace, scratch: Path) -> Iterator[Section]:
    on_python = interpreter.check(interpreter.Machine.here())
    yield "Python", on_python
    if on_python[0].level is Level.PROBLEM:
        return  # the other checks would fail because of it
    tensorflow = libraries.TensorFlow.here()
    yield "Libraries", libraries.check(root, tensorflow)
    environ, on_settings = app_settings.read_environment(root, environ)
    settings = _settings(environ, on_settings)
    packages, on_package = _packages(root, options.package)
    on_package += store.check_package(settings, packages)
    place = settings.model_path
    on_store = store.mirror(settings, scratch) if isinstance(place, StoreUrl) else []
    folder = place if isinstance(place, Path) else scratch / store.MODELS
    settings = replace(settings, model_path=folder)
    found = models.find(folder)
    yield "Functions", functions.check(root, {version.name for version in found})
    can_export = libraries.can_export() and all(made.can_export for made in packages)
    on_models = [] if on_store and not found else models.check(settings, folder, found, can_export)
    inputs = {one.name: one.loaded.inputs for one in models.served(found) if one.loaded}
    on_models += [*models.default(settings, found), *functions.check_inputs(root, inputs)]
    yield f"Models in {_shown(place, root)}", [*on_store, *on_models]
    plan = PLANS[options.plan]
    yield "Memory and start", limits.check(plan, options.memory, environ, found, settings.engine)
    for made in packages:
        on_package += package.check(made, plan, root, found)
    yield "Package", on_package
    is_slim = tensorflow.is_slim or any(made.is_slim for made in packages)
    built = [made.has_tensorflow for made in packages if made.is_built]
    packaged = all(built) if built else None
    app = app_settings.App(root, plan, found, tensorflow.library is not None, is_slim, can_export, packaged)
    yield "App settings", [*on_settings, *app_settings.check(app, settings, environ)]


def _settings(environ: Mapping[str, str], findings: list[Finding]) -> Settings:
    """Return the app settings, or the defaults and a finding where one is invalid."""
    try:
        settings = Settings.from_environment(environ)
    except ConfigurationError as error:
        findings.append(problem(f"{error} No function will answer", "fix the value; the other checks used the default"))
        settings = Settings()
    path = settings.model_path
    return replace(settings, model_path=path.absolute()) if isinstance(path, Path) else settings


def _packages(root: Path, given: Path | None) -> tuple[list[package.Package], list[Finding]]:
    try:
        return package.find(root, given), []
    except package.PackageError as error:
        return [], [problem(str(error), "make package")]


def _shown(path: Path | StoreUrl, root: Path) -> str:
    return str(path.relative_to(root) if isinstance(path, Path) and path.is_relative_to(root) else path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.doctor",
        description="Check the app before it is deployed: print what is right, what will fail on Azure, how to fix it.",
    )
    parser.add_argument("--plan", choices=PLANS, default="flex", help="the hosting plan (default: %(default)s)")
    parser.add_argument("--memory", type=int, metavar="MB", help="the memory of an instance (default: the plan's)")
    parser.add_argument(
        "--package", type=Path, metavar="PATH", help="the zip file or folder to be published (default: those in dist)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
