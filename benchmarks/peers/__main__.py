"""``make bench-peers``: set up every peer, measure them in turn, and write the table and the plot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.peers import environments, measure, models, processes, report, wrk
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.environments import SetupError
from benchmarks.report import fill


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 0 if every peer was measured without an error, 1 otherwise."""
    options = _parser().parse_args(arguments)
    if not sys.platform.startswith("linux"):
        return _refuse("This benchmark needs Linux: it follows each peer's processes in /proc.")
    if not wrk.is_installed():
        return _refuse("The client, wrk, is not installed. Install it: apt install wrk")
    processes.adopt_orphans()
    peers = [peer for peer in PEERS if not options.only or peer.name in options.only]
    try:
        failed = _set_up(peers)
        outcomes = _measure(peers, failed, options)
    except SetupError as error:
        return _refuse(f"The models could not be prepared: {error}")
    except KeyboardInterrupt:
        return _refuse("Interrupted; nothing was written.")
    if not any(item.rounds for item in outcomes):
        return 1
    plot = options.output.with_suffix(".png")
    text = f"{report.markdown(outcomes, options.rounds, options.seconds)}\n![]({plot.name})"
    print(text)
    fill(options.output, {"measured": text})
    report.plot(outcomes, plot)
    return int(any(item.failure or item.figures["errors"] for item in outcomes))


def _parser() -> argparse.ArgumentParser:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Compare this app with its peers, each in its own environment below .venv-peers: cold start, "
        "latency, throughput, memory, size. The first run installs about 15 GB, which takes about ten minutes; --only "
        "installs some. Measuring takes about a minute for each peer and round.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=names,
        help=f"some of {', '.join(names)}; ratios are to the first of these",
    )
    parser.add_argument("--seconds", type=_positive, default=5, help="duration of each load (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=3, help="how many rounds to measure (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "docs" / "peers.md",
        help="file with markers for the tables; the plot is written beside it as .png (default: docs/peers.md)",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


def _set_up(peers: Sequence[Peer]) -> dict[str, str]:
    """Install the peers and write their models; return the reason of each failure by the peer's name."""
    failed: dict[str, str] = {}
    with tqdm(peers, desc="setting up", unit="peer") as progress:
        for peer in progress:
            progress.set_postfix_str(peer.environment)
            try:
                environments.install(peer.environment)
            except SetupError as error:
                failed[peer.name] = str(error)
                progress.write(f"{peer.title} could not be set up: {error}", file=sys.stderr)
    print("Writing the models ...", file=sys.stderr)
    models.prepare()
    of_onnx = [peer.name for peer in peers if "onnxruntime" in peer.name]
    if of_onnx:
        try:
            models.prepare_onnx()
        except SetupError as error:
            failed |= dict.fromkeys(of_onnx, str(error))
    return failed


def _measure(peers: Sequence[Peer], failed: dict[str, str], options: argparse.Namespace) -> list[measure.Outcome]:
    with tqdm(total=len(peers) * options.rounds, desc="measuring", unit="peer") as progress:

        def begin(title: str) -> None:
            progress.update(bool(progress.postfix))
            progress.set_postfix_str(title)

        outcomes = measure.outcomes(peers, options.rounds, options.seconds, failed, begin)
        progress.update()
    for item in outcomes:
        if item.failure:
            print(f"{item.peer.title} could not be set up: {item.failure}", file=sys.stderr)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
