"""``python -m benchmarks.large_bodies``: time and peak memory of ``main(req)`` by the size of the body. Linux only.

Measures each size and format in a fresh process, after a small request. The peak is the largest growth of resident
memory, body included. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import perf_counter

import azure.functions as func
import numpy as np

import PredictXor
import TfServing
from benchmarks.figures import ROOT

_SIZES = (1, 5, 10, 19)  # MiB; the app's limit is 20
_FORMATS = ("2017 text", "2017 lists", "short numbers", "instances")


def _body(kind: str, size: int) -> bytes:
    values = np.random.default_rng(0).random((1000, 2))
    row = {"2017 text": "{!r} {!r}|", "short numbers": "[{:.1f},{:.1f}],"}.get(kind, "[{!r}, {!r}], ")
    block = "".join(row.format(x, y) for x, y in values.tolist())
    rows = (block * (size * 2**20 // len(block) - 1)).rstrip(", |")
    member = "instances" if kind == "instances" else "X"
    return (f'{{"{member}": "{rows}"}}' if kind == "2017 text" else f'{{"{member}": [{rows}]}}').encode()


def _request(kind: str, body: bytes) -> func.HttpRequest:
    return func.HttpRequest(
        method="POST",
        url="https://app/api/x",
        headers={"content-type": "application/json"},
        params={},
        route_params={"path": "xor:predict"} if kind == "instances" else {},
        body=body,
    )


def _kib(figure: str) -> int:
    return int(re.findall(rf"{figure}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))[0])


async def _measure(kind: str, body_file: Path) -> None:
    main = (TfServing if kind == "instances" else PredictXor).main
    small = b'{"instances": [[1, 0]]}' if kind == "instances" else b'{"X": [[1, 0]]}'
    await main(_request(kind, small))
    before = _kib("VmRSS")
    body = body_file.read_bytes()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    start = perf_counter()
    response = await main(_request(kind, body))
    seconds = perf_counter() - start
    if response.status_code != 200:
        raise SystemExit(response.get_body()[:200].decode())
    print(json.dumps({"bytes": len(body), "seconds": seconds, "peak": (_kib("VmHWM") - before) * 1024}))


def _child(kind: str, size: int) -> dict[str, float]:
    # Written here, so that making the body does not use the memory that is measured.
    with NamedTemporaryFile() as file:
        file.write(_body(kind, size))
        file.flush()
        command = [sys.executable, "-m", "benchmarks.large_bodies", "--child", kind, file.name]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_bodies", description=__doc__)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        asyncio.run(_measure(options.child[0], Path(options.child[1])))
        return
    print("| format | body, MiB | s | s per MiB | peak memory: times the body |\n|---|---:|---:|---:|---:|")
    for kind in _FORMATS:
        for size in _SIZES:
            figures = _child(kind, size)
            mebibytes = figures["bytes"] / 2**20
            ratio = figures["peak"] / figures["bytes"]
            cells = f"{mebibytes:.1f} | {figures['seconds']:.3f} | {figures['seconds'] / mebibytes:.3f} | {ratio:.1f}"
            print(f"| {kind} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
