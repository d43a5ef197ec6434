"""A discrete-event simulation of requests and of the instances added for them. Pure functions.

An instance works on one request at a time, each for the same time, and holds a limited number of them. Other requests
wait in one queue, first come, first served. Once a second, enough instances are requested to hold all present requests,
up to a rate and a limit. Each takes a fixed time to start.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

_DECISION_SECONDS = 1.0  # how often instances are requested
_LEAST_BILLED_SECONDS, _BILLED_STEP_SECONDS = 1.0, 0.1


@dataclass(frozen=True)
class Load:
    """A rate of requests: a ramp from 0 to ``per_second``, which is then held."""

    per_second: float = 10_000
    ramp_seconds: float = 10
    hold_seconds: float = 30

    def arrivals(self, seed: int) -> np.ndarray:
        """Return the arrival times of a Poisson process, in seconds, sorted."""
        random = np.random.default_rng(seed)
        end = self.ramp_seconds + self.hold_seconds
        times = np.sort(random.random(random.poisson(self.per_second * end)) * end)
        # During the ramp, keep a growing share.
        rising = times < self.ramp_seconds
        kept = ~rising | (random.random(len(times)) * self.ramp_seconds < times)
        return times[kept]


@dataclass(frozen=True)
class Fleet:
    """How instances work, start and are added, up to ``most``; one holds ``concurrency`` requests.

    ``front_seconds`` is each request's time on its way. Meanwhile it occupies a place in the instance, but no core.
    """

    service_seconds: float
    concurrency: int
    start_seconds: float
    front_seconds: float = 0.005
    always_ready: int = 0
    most: int = 1000
    added_per_second: float = 20


@dataclass
class Outcome:
    """Each request's latency and wait, in order of arrival, and the ready instances over time: (second, count)."""

    arrivals: np.ndarray
    latencies: np.ndarray
    waits: np.ndarray
    instances: list[tuple[float, int]]
    billed_seconds: float

    def latency(self, quantile: float, start: float = 0.0, end: float = math.inf) -> float:
        """Return a quantile of the latencies of requests that arrived from ``start`` to before ``end``."""
        chosen = self.latencies[(self.arrivals >= start) & (self.arrivals < end)]
        return float(np.quantile(chosen, quantile)) if len(chosen) else math.nan

    def share_waiting(self, longer_than: float) -> float:
        """Return the share of requests that waited longer than this for an instance with room."""
        return float(np.mean(self.waits > longer_than))

    @property
    def most_instances(self) -> int:
        """The instances at the end, which is their maximum."""
        return self.instances[-1][1]


@dataclass
class _Instance:
    free_at: float
    held: int = 0
    billed_from: float = -math.inf
    billed_until: float = -math.inf
    billed: float = 0.0

    def work(self, now: float, seconds: float) -> float:
        """Add a request and return when it is done; periods with work are billed."""
        done = max(now, self.free_at) + seconds
        if now > self.billed_until:
            self.billed += max(0.0, self.billed_until - self.billed_from)
            self.billed_from = now
        length = math.ceil((done - self.billed_from) / _BILLED_STEP_SECONDS - 1e-9) * _BILLED_STEP_SECONDS
        self.billed_until = self.billed_from + max(_LEAST_BILLED_SECONDS, length)
        self.free_at, self.held = done, self.held + 1
        return done


@dataclass
class _State:
    fleet: Fleet
    ready: list[_Instance] = field(default_factory=list)
    starting: list[float] = field(default_factory=list)  # when each is ready; a heap
    by_load: list[tuple[float, int]] = field(default_factory=list)  # (free_at, number); a heap with outdated entries
    working: list[tuple[float, int]] = field(default_factory=list)  # (done, number); a heap

    def add(self, now: float) -> None:
        self.ready.append(_Instance(now))
        heapq.heappush(self.by_load, (now, len(self.ready) - 1))

    def take(self) -> int | None:
        """Return the number of the least loaded instance with room, if there is one."""
        while self.by_load:
            free_at, number = self.by_load[0]
            instance = self.ready[number]
            if instance.free_at != free_at or instance.held >= self.fleet.concurrency:
                heapq.heappop(self.by_load)
                continue
            return number
        return None


def simulate(load: Load, fleet: Fleet, seed: int = 0) -> Outcome:
    """Simulate until the last request is answered."""
    arrivals = load.arrivals(seed)
    latencies, waits = np.zeros(len(arrivals)), np.zeros(len(arrivals))
    state, queue = _State(fleet), deque[int]()
    for _ in range(fleet.always_ready):
        state.add(0.0)
    counts = [(0.0, len(state.ready))]
    times = arrivals.tolist()
    upcoming, decision, count = 0, 0.0, len(times)
    while upcoming < count or queue or state.working:
        arrival = times[upcoming] if upcoming < count else math.inf
        done = state.working[0][0] if state.working else math.inf
        ready = state.starting[0] if state.starting else math.inf
        now = min(arrival, done, ready, decision)
        if now == done:
            _, number = heapq.heappop(state.working)
            state.ready[number].held -= 1
            heapq.heappush(state.by_load, (state.ready[number].free_at, number))
        elif now == ready:
            heapq.heappop(state.starting)
            state.add(now)
            counts.append((now, len(state.ready)))
        elif now == arrival:
            queue.append(upcoming)
            upcoming += 1
        else:
            _ask_for_more(state, len(queue), now)
            decision = now + _DECISION_SECONDS
        _dispatch(state, queue, now, times, waits, latencies)
    billed = sum(instance.billed + max(0.0, instance.billed_until - instance.billed_from) for instance in state.ready)
    return Outcome(arrivals, latencies, waits, counts, billed)


def _dispatch(
    state: _State, queue: deque[int], now: float, times: list[float], waits: np.ndarray, latencies: np.ndarray
) -> None:
    while queue and (number := state.take()) is not None:
        index, instance = queue.popleft(), state.ready[number]
        done = instance.work(now, state.fleet.service_seconds)
        heapq.heappush(state.working, (done + state.fleet.front_seconds, number))
        heapq.heappush(state.by_load, (instance.free_at, number))
        waits[index] = now - times[index]
        latencies[index] = done - times[index] + state.fleet.front_seconds


def _ask_for_more(state: _State, waiting: int, now: float) -> None:
    fleet = state.fleet
    there = len(state.ready) + len(state.starting)
    wanted = min(math.ceil((len(state.working) + waiting) / fleet.concurrency), fleet.most)
    for _ in range(min(max(0, wanted - there), int(fleet.added_per_second * _DECISION_SECONDS))):
        heapq.heappush(state.starting, now + fleet.start_seconds)
