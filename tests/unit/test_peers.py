"""The peers' report: medians, each round's ratios, and peers that serve fewer models. Nothing here is installed."""

import pytest

from benchmarks.peers import environments, report
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.measure import Outcome

BY_NAME = {peer.name: peer for peer in PEERS}


def measured(name, *rates):
    """Return a peer's outcome, a round for each rate; everything else is equal in all rounds."""
    peer = BY_NAME[name]
    constant = {"cold": 0.5, "errors": 1}
    for case in peer.cases:
        constant |= {f"{case.name} {key}": 2.0 for key in ("1 p50", "1 rate", "16 p50", "Rss", "Pss")}
    return Outcome(peer, [constant | {f"{case.name} 16 rate": rate for case in peer.cases} for rate in rates])


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    """Stand in for environments, which have gigabytes."""
    monkeypatch.setattr(environments, "installed_bytes", lambda name: 25e6)
    monkeypatch.setattr(environments, "versions", lambda name: {"numpy": "2"})


def test_figures_are_medians_of_the_rounds_and_errors_are_summed():
    outcome = measured("ours", 100, 400, 200)

    assert outcome.figures["xor 16 rate"] == 200
    assert outcome.figures["errors"] == 3


def test_a_ratio_is_the_median_of_each_rounds_own():
    ours, theirs = measured("ours", 100, 400, 200), measured("fastapi-litert", 100, 200, 1000)

    assert report.ratio(ours, theirs, "xor 16 rate") == 1  # of 1, 0.5 and 5; that of the medians is also 1
    assert report.ratio(ours, measured("fastapi-litert", 300, 400, 20), "xor 16 rate") == 1  # 3, 1, 0.1; medians: 1.5


def test_a_peer_without_a_model_has_an_empty_cell_for_it():
    text = report.markdown([measured("ours", 100), measured("fastapi-litert", 50)], 1, 1)

    ours, theirs = (
        next(line for line in text.splitlines() if line.startswith(f"| {BY_NAME[name].title} |"))
        for name in ("ours", "fastapi-litert")
    )
    assert ours.endswith("| 2,000 / 100 | 2,000 / 100 |")
    assert theirs.endswith("| 2,000 / 50 |  |")
    assert "--only ours fastapi-litert`" in text


def test_a_peer_that_failed_is_named_with_its_reason():
    text = report.markdown([measured("ours", 100), Outcome(BY_NAME["litserve"], [], "no such port")], 1, 1)

    assert "- LitServe, concrete function could not be set up: no such port" in text
