"""The client for all peers: ``wrk`` with one thread, which sends one request over all its connections."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.requests import Request

_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Load:
    """The result of a load: latencies in seconds; ``errors`` are socket errors and statuses of 400 or more."""

    p50: float
    p99: float
    per_second: float
    errors: int

    @property
    def figures(self) -> dict[str, float]:
        """The latencies and the rate, by name."""
        return {"p50": self.p50, "p99": self.p99, "rate": self.per_second}


def is_installed() -> bool:
    """Tell whether ``wrk`` is installed."""
    return shutil.which("wrk") is not None


def load(port: int, request: Request, connections: int, seconds: int) -> Load:
    """Send the request for so many seconds, over so many connections."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        options = f"--threads 1 --connections {connections} --duration {seconds}s --timeout 30s".split()
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        url = f"http://127.0.0.1:{port}{request.path}"
        command = ["wrk", *options, "--script", str(_SCRIPT), url, "--", body.name, *headers]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = json.loads(output.splitlines()[-1])
    refused = figures["status_errors"]
    return Load(
        p50=figures["p50"] / 1e6,
        p99=figures["p99"] / 1e6,
        # Without answers that are errors.
        per_second=(figures["requests"] - refused) / (figures["duration"] / 1e6),
        errors=figures["socket_errors"] + refused,
    )
