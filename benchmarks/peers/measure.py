"""Measures the peers in rounds: each in turn, in a fresh server, under the same four loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.peers import processes, requests, server, wrk
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import SetupError

CONNECTIONS = (1, 16)

_WARM_SECONDS = 1

# A peer's figures in one round, or their medians: seconds, requests/s, errors, KiB.
Figures = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """A peer's figures, or the reason why it could not be measured."""

    peer: Peer
    figures: Figures
    failure: str = ""


def outcomes(
    peers: Iterable[Peer], rounds: int, seconds: int, failed: dict[str, str], tell: Callable[[str], None]
) -> list[Outcome]:
    """Measure the peers in turn, ``rounds`` times; call ``tell`` with a peer's title before measuring it.

    ``failed`` holds the reasons of failures by name. Those peers are skipped, and further failures are added to it.
    """
    peers = list(peers)
    found: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            tell(peer.title)
            if peer.name in failed:
                continue
            try:
                found[peer.name].append(_round(peer, seconds))
            except SetupError as error:
                failed[peer.name] = str(error)
    return [Outcome(peer, _medians(found[peer.name]), failed.get(peer.name, "")) for peer in peers]


def _round(peer: Peer, seconds: int) -> Figures:
    sent = {name: peer.request(name) for name in requests.NAMES}
    figures: Figures = {"errors": 0}
    # Not measured: it refills the page cache, whatever the previous peers have evicted.
    with server.running(peer, sent["xor"]):
        pass
    with server.running(peer, sent["xor"]) as running:
        figures["cold"] = running.cold
        for name, request in sent.items():
            server.check(running.port, name, request)
        for name, request in sent.items():
            wrk.load(running.port, request, CONNECTIONS[-1], _WARM_SECONDS)
            for connections in CONNECTIONS:
                load = wrk.load(running.port, request, connections, seconds)
                key = f"{name}_{connections}"
                figures |= {f"{key}_p50": load.p50, f"{key}_p99": load.p99, f"{key}_per_second": load.per_second}
                figures["errors"] += load.errors
        return figures | processes.memory_kib()


def _medians(rounds: list[Figures]) -> Figures:
    """Return the median of each figure, but the sum of the errors."""
    if not rounds:
        return {}
    figures = {key: median(each[key] for each in rounds) for key in rounds[0]}
    return figures | {"errors": sum(each["errors"] for each in rounds)}
