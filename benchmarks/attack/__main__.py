"""``python -m benchmarks.attack``: attack the running app under a memory limit, with liveness polled throughout.

Each case has a host of its own. Needs Linux and root, for the limit. Returns 1 if a goal was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.attack import host
from benchmarks.attack.case import Case, Outcome, Target
from benchmarks.attack.cases import CASES
from benchmarks.figures import ROOT

_LIVENESS_GOAL_SECONDS = 0.5

_PAGE = ROOT / "docs" / "attack.md"


def main() -> int:
    """Run the cases and print the table; return 1 if a goal was missed."""
    options = _parser().parse_args()
    cases = [case for case in CASES if options.case in case.name]
    outcomes = []
    for case in tqdm(cases, desc="attacks", unit="case"):
        outcomes.append(_run(case))
        failures = list(outcomes[-1].failures(_LIVENESS_GOAL_SECONDS))
        for failure in failures[:10]:
            tqdm.write(f"{case.name}: {failure}")
    table = _markdown(outcomes)
    print(table)
    if options.save:
        _PAGE.write_text(_page(table), encoding="utf-8")
    return 1 if any(any(outcome.failures(_LIVENESS_GOAL_SECONDS)) for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    description = "Attack the running app under a memory limit, with liveness polled throughout."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=description)
    parser.add_argument("--case", default="", help="only cases whose names contain this")
    parser.add_argument("--save", action="store_true", help="write docs/attack.md")
    return parser


def _run(case: Case) -> Outcome:
    with TemporaryDirectory() as folder, host.memory_limit(case.memory_mb) as cgroup:
        models = Path(folder) / "models"
        models.mkdir()
        case.models(models)
        settings = {"SERVING_CACHE_PATH": f"{folder}/cache"} | dict(case.settings)
        running = host.Host(models, settings, cgroup, Path(folder) / "log")
        try:
            url, port = running.url()
            with closing(host.Liveness(port)) as liveness:
                target = Target(f"{url}/api/", models)
                asyncio.run(_attack(case, target))
                waited = liveness.longest_wait()
            peak_mb = running.peak_mb()
            seconds, exit_code = running.stop()
        finally:
            running.kill()
    return Outcome(case.name, target.statuses, waited, peak_mb, seconds, exit_code, target.wrong)


async def _attack(case: Case, target: Target) -> None:
    await case.attack(target)
    await target.client.aclose()


def _markdown(outcomes: Iterable[Outcome]) -> str:
    lines = [
        "| case | answers | longest liveness wait, s | peak memory, MB | 500s | wrong answers | SIGTERM to end, s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for outcome in outcomes:
        answers = ", ".join(f"{count:,} of {status}" for status, count in sorted(outcome.statuses.items()))
        figures = (
            *(f"{outcome.liveness:.2f}", f"{outcome.peak_mb:,.0f}", f"{outcome.server_errors:,}"),
            *(f"{len(outcome.wrong):,}", f"{outcome.stop:.1f}" if outcome.exit_code is not None else "killed"),
        )
        lines.append(f"| {outcome.name} | {answers} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def _page(table: str) -> str:
    return f"""# Attacks

For operators and developers: what single requests, and many at once, can do to the app.

Each case attacks the running local host in 2 GB of memory, or in 512 MB where LiteRT serves, on {os.cpu_count()} shared
cores. A process polls `api/health/live` every 100 ms meanwhile. SIGTERM is sent as soon as the case ends, while what it
has started may go on. Measured with `python -m benchmarks.attack --save`, which fails unless liveness answers within
{_LIVENESS_GOAL_SECONDS} s, every answer is right and no answer is a 500.

{table}"""


if __name__ == "__main__":
    sys.exit(main())
