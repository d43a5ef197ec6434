"""The simulation's inputs: figures measured here, Azure's published rules, and assumptions.

The figures were measured on two shared cores; the pages they come from name the commands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.scale.simulation import Fleet, Load
from tools.doctor.limits import TIGHT

# learn.microsoft.com/azure/azure-functions/flex-consumption-plan: an instance of 512 MB has a quarter of a core, one of
# 2,048 MB a core. There are up to 1,000 instances, but only 250 cores in a region unless the quota is raised. At least
# 1,000 ms of activity are billed, in steps of 100 ms, for the instance's memory.
MEMORY_MB, SMALL_MEMORY_MB = 2048, 512

# Dollars, East US, on demand, without the free grant, as quoted in modal.com/blog/azure-function-pricing-guide (May
# 2025). Current prices: azure.microsoft.com/pricing/details/functions
PER_GB_SECOND = 0.000026
PER_MILLION_EXECUTIONS = 0.40

# Assumed, because Microsoft publishes neither: the time that host, gRPC and worker add to each request on the
# instance's core, and the time that the platform's front end adds elsewhere.
HOST_SECONDS = 0.001
FRONT_SECONDS = 0.005

# Assumed: the time from the decision to add an instance until the app starts, and the instances added per second.
# Microsoft names one per second for the older Consumption plan (event-driven-scaling) and calls Flex faster.
PLATFORM_SECONDS = 2.0
ADDED_PER_SECOND = 20.0


@dataclass(frozen=True)
class App:
    """A function app: core seconds per request, by model, seconds from its start to its first answer, and memory."""

    name: str
    service_seconds: dict[str, float]
    cold_seconds: float
    resident_mb: float

    @property
    def fits_small(self) -> bool:
        """Whether an instance of 512 MB is large enough."""
        return self.resident_mb <= TIGHT * SMALL_MEMORY_MB


# Core seconds: the inverse of the requests/s at 16 connections in docs/peers.md, although the client ran on another
# core; for the naive app an earlier run on the same page. Cold starts with the page cache dropped, and memory:
# docs/package.md.
OURS = App("this app", {"XOR, 2 rows": 1 / 3198, "MLP, 32 rows": 1 / 204}, cold_seconds=0.63, resident_mb=51)
TENSORFLOW = App(
    "TensorFlow's engine", {"XOR, 2 rows": 1 / 2343, "MLP, 32 rows": 1 / 169}, cold_seconds=1.10, resident_mb=231
)
NAIVE = App("naive app", {"XOR, 2 rows": 1 / 21.6, "MLP, 32 rows": 1 / 18.4}, cold_seconds=5.15, resident_mb=506)
APPS = (OURS, TENSORFLOW, NAIVE)


@dataclass(frozen=True)
class Scenario:
    """A load on an app's fleet; ``what`` says how it differs from the base scenario."""

    what: str
    app: App
    model: str
    load: Load
    fleet: Fleet
    memory_mb: int = MEMORY_MB


def base(app: App, model: str = "XOR, 2 rows", what: str = "base") -> Scenario:
    """Return the base scenario; every other one changes one thing in it."""
    fleet = Fleet(
        service_seconds=app.service_seconds[model] + HOST_SECONDS,
        concurrency=16,
        start_seconds=PLATFORM_SECONDS + app.cold_seconds,
        front_seconds=FRONT_SECONDS,
        added_per_second=ADDED_PER_SECOND,
    )
    return Scenario(what, app, model, Load(), fleet)


def _on_small_instances(scenario: Scenario) -> Scenario:
    """Return a scenario with instances of 512 MB: all that takes a core takes as many times as long."""
    slower = MEMORY_MB / SMALL_MEMORY_MB
    fleet = replace(
        scenario.fleet,
        service_seconds=scenario.fleet.service_seconds * slower,
        start_seconds=PLATFORM_SECONDS + scenario.app.cold_seconds * slower,
    )
    what = f"{scenario.what}, instances of {SMALL_MEMORY_MB} MB".removeprefix("base, ")
    return replace(scenario, what=what, fleet=fleet, memory_mb=SMALL_MEMORY_MB)


def sizes(app: App) -> list[Scenario]:
    """Return scenarios for both sizes of instances, if the app fits: the base, and a request now and then."""
    rare = replace(base(app), what="one request a second", load=Load(1, ramp_seconds=0.001, hold_seconds=3600))
    small = [_on_small_instances(scenario) for scenario in (base(app), rare)] if app.fits_small else []
    return [rare, *small]


def variations(app: App) -> list[Scenario]:
    """Return scenarios that each change one assumption of the base."""
    start = base(app)

    def fleet(what: str, **changes: Any) -> Scenario:
        return replace(start, what=what, fleet=replace(start.fleet, **changes))

    def load(what: str, **changes: Any) -> Scenario:
        return replace(start, what=what, load=replace(start.load, **changes))

    service = app.service_seconds[start.model]
    return [
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
