"""The rounds: every peer in turn, each time in a fresh server, under the same four loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.peers import processes, requests, server, wrk
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import SetupError

CONNECTIONS = (1, 16)

_WARM_SECONDS = 1

# What one round found of one peer, or its median over the rounds: seconds, requests a second, errors and KiB.
Figures = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What the rounds found of one peer; or, instead of figures, why it could not be measured."""

    peer: Peer
    figures: Figures
    failure: str = ""


def outcomes(
    peers: Iterable[Peer], rounds: int, seconds: int, failed: dict[str, str], tell: Callable[[str], None]
) -> list[Outcome]:
    """Measure the peers in turn, ``rounds`` times; ``tell`` is told each peer's title as it begins.

    ``failed`` holds the reason for each peer that can't be measured, by name, and takes on those that fail here.
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
    # Once for nothing: what others have pushed out of the page cache is in it again, wherever in the round it comes.
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
    """Return each figure's median; of errors, which no round may hide, the sum."""
    if not rounds:
        return {}
    figures = {key: median(each[key] for each in rounds) for key in rounds[0]}
    return figures | {"errors": sum(each["errors"] for each in rounds)}
