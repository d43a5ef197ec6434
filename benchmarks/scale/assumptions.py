"""What the simulation starts from: figures measured here, Azure's published rules, and what has to be assumed.

Measured figures are of two shared cores; the docs that hold them name their commands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.scale.simulation import Fleet, Load

# learn.microsoft.com/azure/azure-functions/flex-consumption-plan: an instance of 2,048 MB has a core; up to 1,000
# instances, though a region's quota allows 250 such ones until it is raised. Billed are at least 1,000 ms of activity,
# in steps of 100 ms.
INSTANCE_GB = 2.0

# Dollars, East US, on demand, without the free grant, as quoted in modal.com/blog/azure-function-pricing-guide (May
# 2025); azure.microsoft.com/pricing/details/functions has the current ones.
PER_GB_SECOND = 0.000026
PER_MILLION_EXECUTIONS = 0.40

# Assumed: what the Functions host, gRPC and the worker add to each request on the instance's one core, and what the
# platform's front end adds outside of it. Microsoft publishes neither.
HOST_SECONDS = 0.001
FRONT_SECONDS = 0.005

# Assumed: from the decision to add an instance until the app's own start begins, and how many are added a second.
# Microsoft publishes one a second for the older Consumption plan (event-driven-scaling) and calls Flex faster.
PLATFORM_SECONDS = 2.0
ADDED_PER_SECOND = 20.0


@dataclass(frozen=True)
class App:
    """A function app: seconds of a core for a request, by model, and seconds from its start to its first answer."""

    name: str
    service_seconds: dict[str, float]
    cold_seconds: float


# docs/peers.md (make bench-peers): one request takes a core the inverse of the requests/s at 16 connections, though the
# client worked on the other core. docs/package.md and docs/benchmark.md: starts with the page cache dropped.
OURS = App("this app", {"XOR, 2 rows": 1 / 6020, "MLP, 32 rows": 1 / 382}, cold_seconds=0.82)
NAIVE = App("naive app", {"XOR, 2 rows": 1 / 21.6, "MLP, 32 rows": 1 / 18.4}, cold_seconds=4.02)


@dataclass(frozen=True)
class Scenario:
    """One run: a load on an app's fleet; ``what`` says in a word how it differs from the base."""

    what: str
    app: App
    model: str
    load: Load
    fleet: Fleet


def base(app: App, model: str = "XOR, 2 rows", what: str = "base") -> Scenario:
    """Return the scenario that all others differ from in one thing."""
    fleet = Fleet(
        service_seconds=app.service_seconds[model] + HOST_SECONDS,
        concurrency=16,
        start_seconds=PLATFORM_SECONDS + app.cold_seconds,
        front_seconds=FRONT_SECONDS,
        added_per_second=ADDED_PER_SECOND,
    )
    return Scenario(what, app, model, Load(), fleet)


def variations(app: App) -> list[Scenario]:
    """Return what is varied, one thing at a time, beginning with the base."""
    start = base(app)

    def fleet(what: str, **changes: Any) -> Scenario:
        return replace(start, what=what, fleet=replace(start.fleet, **changes))

    def load(what: str, **changes: Any) -> Scenario:
        return replace(start, what=what, load=replace(start.load, **changes))

    service = app.service_seconds[start.model]
    return [
        start,
        fleet("concurrency 1, Azure's default for Python", concurrency=1),
        fleet("concurrency 4", concurrency=4),
        fleet("platform's own start 0.5 s", start_seconds=0.5 + app.cold_seconds),
        fleet("platform's own start 10 s", start_seconds=10 + app.cold_seconds),
        fleet("5 instances added a second", added_per_second=5),
        fleet("100 instances added a second", added_per_second=100),
        fleet("host takes 0.3 ms of a core", service_seconds=service + 0.0003),
        fleet("host takes 3 ms of a core", service_seconds=service + 0.003),
        fleet("5 always ready", always_ready=5),
        fleet("50 always ready", always_ready=50),
        load("a step instead of a ramp", ramp_seconds=0.001, hold_seconds=40),
        load("a ramp of 60 s", ramp_seconds=60),
        replace(base(app, "MLP, 32 rows"), what="MLP with 32 rows as JSON"),
    ]
