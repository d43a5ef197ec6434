"""Compares the memory and start time of all models together with what an instance of the plan has."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.doctor.children import ChildError, Loaded, load
from tools.doctor.finding import Finding, ok, problem, warning
from tools.doctor.models import Version, served
from tools.doctor.plans import Plan

PROCESSES = "FUNCTIONS_WORKER_PROCESS_COUNT"

# The Functions host and the data of requests live in the same memory, and Microsoft gives no figure for them.
TIGHT = 0.75

# When to warn; this threshold is the doctor's own.
_LONG_WAIT_SECONDS = 30


def check(
    plan: Plan,
    memory_mb: int | None,
    environ: Mapping[str, str],
    found: Sequence[Version],
    engine: str,
    load: Callable[[Sequence[Path], str], Loaded] = load,
) -> list[Finding]:
    """Check whether an instance has memory for all models that are served, and whether they start in time."""
    latest = [(version, version.loaded) for version in served(found) if version.loaded]
    findings = _choice(plan, memory_mb)
    if latest:
        together = latest[0][1] if len(latest) == 1 else _together([version for version, _ in latest], engine, load)
        findings += _starts(plan, latest)
        findings += _memory(plan, memory_mb or plan.memory_mb, _processes(plan, environ), together)
    return findings


def _choice(plan: Plan, memory_mb: int | None) -> list[Finding]:
    if memory_mb is None or not plan.memory_choices_mb or memory_mb in plan.memory_choices_mb:
        return []
    sizes = ", ".join(map(str, plan.memory_choices_mb))
    return [problem(f"{plan.title} has no instances of {memory_mb} MB", f"choose one of {sizes} MB")]


def _starts(plan: Plan, latest: Sequence[tuple[Version, Loaded]]) -> list[Finding]:
    importing = max(seen.import_seconds for _, seen in latest)
    slowest, seen = max(latest, key=lambda item: item[1].seconds)
    what = f"The functions are imported in {importing:.2f} s"
    if plan.start_seconds:
        what += f" of the {plan.start_seconds} s that an app has to start"
    is_late = importing > (plan.start_seconds or math.inf)
    findings = [problem(what, "import less at the top of the functions") if is_late else ok(what)]
    if seen.seconds > _LONG_WAIT_SECONDS:
        what = f"The first client of {slowest} waits {seen.seconds:.0f} s after a cold start"
        findings.append(warning(what, "name it in SERVING_PRELOAD, and keep instances always ready"))
    return findings


def _processes(plan: Plan, environ: Mapping[str, str]) -> int:
    text = environ.get(PROCESSES, "")
    # "Setting not valid" on Flex Consumption (learn.microsoft.com/azure/azure-functions/functions-app-settings).
    return int(text) if text.isdecimal() and int(text) and not plan.runs_from_package else 1


def _together(latest: Sequence[Version], engine: str, load: Callable[[Sequence[Path], str], Loaded]) -> Loaded | None:
    print(f"Loading {len(latest)} models in one process ...", file=sys.stderr, flush=True)
    try:
        return load([version.folder for version in latest], engine)
    except ChildError:
        return None


def _memory(plan: Plan, limit_mb: int | None, processes: int, together: Loaded | None) -> list[Finding]:
    if together is None:
        todo = "serve fewer models, or those of an app of their own with SERVING_MODEL_PATH"
        return [problem("Each model can be loaded alone, but not all of them in one process", todo)]
    if together.resident_mb is None or together.private_mb is None:
        return [warning("This system does not report the memory of a process", "run the doctor on Linux")]
    # Processes share what is mapped from TensorFlow's library and from files.
    need = together.resident_mb + (processes - 1) * together.private_mb
    whose = f"in {processes} worker processes " if processes > 1 else ""
    what = f"All models loaded {whose}take {need:.0f} MB"
    if limit_mb is None:
        return [ok(f"{what}; pass --memory to compare it with the memory of {plan.title}")]
    what += f" of an instance's {limit_mb} MB ({plan.title})"
    if need > limit_mb:
        return [problem(what, f"{_more_memory(plan, need)}, fewer models, or a lower {PROCESSES}")]
    if need > TIGHT * limit_mb:
        return [warning(f"{what}; the Functions host and requests need the rest", _more_memory(plan, need / TIGHT))]
    return [ok(what)]


def _more_memory(plan: Plan, need_mb: float) -> str:
    larger = [size for size in plan.memory_choices_mb if size >= need_mb]
    return f"choose --instance-memory {larger[0]}" if larger else "choose a plan with more memory"
