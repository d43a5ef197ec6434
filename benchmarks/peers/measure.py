"""Measures the peers in rounds: each in turn, in a fresh server, under the same loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.peers import processes, server, wrk
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import SetupError

CONNECTIONS = (1, 16)

_WARM_SECONDS = 1

# A peer's figures in one round, or their medians: seconds, requests/s, errors, KiB.
Figures = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """A peer's figures in each round, or the reason why it could not be measured."""

    peer: Peer
    rounds: list[Figures]
    failure: str = ""

    @property
    def figures(self) -> Figures:
        """The median of each figure, but the sum of the errors; empty if there is none."""
        return _medians(self.rounds)


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
    return [Outcome(peer, found[peer.name], failed.get(peer.name, "")) for peer in peers]


def _round(peer: Peer, seconds: int) -> Figures:
    sent = {case: peer.request(case) for case in peer.cases}
    first = sent[peer.cases[0]]
    figures: Figures = {"errors": 0}
    # Not measured: it refills the page cache, whatever the previous peers have evicted.
    with server.running(peer, first):
        pass
    with server.running(peer, first) as running:
        figures["cold"] = running.cold
        for case, request in sent.items():
            server.check(running.port, case, request)
            wrk.load(running.port, request, CONNECTIONS[-1], _WARM_SECONDS)
            for connections in CONNECTIONS:
                load = wrk.load(running.port, request, connections, seconds)
                figures |= {f"{case.name} {connections} {name}": value for name, value in load.figures.items()}
                figures["errors"] += load.errors
            figures |= {f"{case.name} {name}": value for name, value in processes.memory_kib().items()}
        return figures


def _medians(rounds: list[Figures]) -> Figures:
    if not rounds:
        return {}
    figures = {key: median(each[key] for each in rounds) for key in rounds[0]}
    return figures | {"errors": sum(each["errors"] for each in rounds)}
