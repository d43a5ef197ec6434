"""Checks models in Azure Blob Storage: whether they can be listed and read, their sizes, and what the package needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serving.errors import ModelUnavailableError
from serving.models import sources, versions
from serving.models.sources import Source
from serving.settings import Settings
from serving.store_url import StoreUrl
from tools.doctor.finding import Finding, ok, problem, warning
from tools.doctor.package import Package

MODELS = "models"  # in the folder that is given
_MORE_THAN_ENOUGH_MB = 2**20


def mirror(settings: Settings, folder: Path) -> list[Finding]:
    """Download all models into a folder, where the other checks find them; say what that shows."""
    unlimited = replace(settings, cache_path=folder / "cache", store_cache_mb=_MORE_THAN_ENOUGH_MB)
    source = sources.of(unlimited)
    try:
        names = source.names()
    except ModelUnavailableError:
        what, _, todo = source.trouble().partition("; ")
        return [problem(what, todo)]
    models = folder / MODELS
    models.mkdir()
    if not names:
        return [problem(f"{settings.model_path} can be listed, but has no model", "make upload MODEL=...")]
    findings = [ok(f"{settings.model_path} can be listed: {len(names)} models")]
    sizes = []
    for name in names:
        for number, there in source.find(name).items():
            here = models / name / str(number)
            try:
                with source.fetched(there):
                    shutil.copytree(there, here)
            except OSError as error:
                findings.append(problem(f"{name}/{number}: {error}", "make upload MODEL=... REPLACE=1"))
                continue
            sizes.append(sum(path.stat().st_size for path in here.rglob("*") if path.is_file()))
        _write_labels(source, name, models)
    return [*findings, *_sizes(settings, sizes)]


def _write_labels(source: Source, name: str, models: Path) -> None:
    path = source.labels_root(name) / name / versions.LABELS
    if path.is_file() and (models / name).is_dir():
        shutil.copy(path, models / name)


def _sizes(settings: Settings, sizes: list[int]) -> list[Finding]:
    if not sizes:
        return []
    largest, most = max(sizes) / 2**20, settings.store_cache_mb
    what = f"All versions can be read: {sum(sizes) / 2**20:.1f} MB, the largest {largest:.1f} MB"
    if 2 * largest <= most:
        return [ok(f"{what}, of a cache of {most} MB")]
    if largest > most:
        return [problem(f"{what}, but the cache is {most} MB", "raise SERVING_STORE_CACHE_MB")]
    what += f"; the cache of {most} MB has no room for two of it, as when a newer version replaces it"
    return [warning(what, "raise SERVING_STORE_CACHE_MB")]


def check_package(settings: Settings, packages: Sequence[Package]) -> list[Finding]:
    """Find a package that can't read a store, or that can for nothing."""
    findings = []
    for made in packages:
        if made.is_built and isinstance(settings.model_path, StoreUrl) and not made.has_store:
            what = f"{made.name} has no azure-storage-blob, which SERVING_MODEL_PATH={settings.model_path} needs"
            findings.append(problem(what, "make package WITH_STORE=1"))
        if made.has_store and not isinstance(settings.model_path, StoreUrl):
            what = f"{made.name} has azure-storage-blob, which nothing uses: SERVING_MODEL_PATH is a folder"
            findings.append(warning(what, "set it to the container's URL, or: make package"))
    return findings
