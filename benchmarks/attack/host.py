"""The local host in a process with a memory limit, and a process that polls its liveness."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.figures import ROOT

_POLL_SECONDS = 0.1

# Kubernetes kills a container after 30 s by default, and so does the local host's server.
_GRACE_SECONDS = 35

_URL = re.compile(r"Listening on (http://localhost:(\d+))")

_CGROUPS = Path("/sys/fs/cgroup")


class Host:
    """A running host. ``stop`` ends it by SIGTERM."""

    def __init__(self, models: Path, settings: Mapping[str, str], cgroup: Path, log: Path) -> None:
        environment = os.environ | dict(settings) | {"SERVING_MODEL_PATH": str(models)}
        # The shell joins the cgroup and becomes the host.
        join = f'echo $$ > {cgroup}/cgroup.procs && exec "$@"'
        command = ["sh", "-c", join, "sh", sys.executable, "-m", "tools.local_host", "--port", "0"]
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    def url(self) -> tuple[str, int]:
        """Return its URL and port, once it listens."""
        while not (found := _URL.search(self._log.read_text(encoding="utf-8", errors="replace"))):
            if self._process.poll() is not None:
                raise RuntimeError(f"the host has ended:\n{self._log.read_text(encoding='utf-8', errors='replace')}")
            sleep(0.05)
        return found[1], int(found[2])

    def peak_mb(self) -> float:
        """Return the most memory that it has had at a time; 0 once it has ended."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0.0
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(peak[1]) / 1024 if peak else 0.0

    def stop(self) -> tuple[float, int | None]:
        """Send SIGTERM; return the seconds until it ends, and its exit code: None where it had to be killed."""
        start = perf_counter()
        self._process.send_signal(signal.SIGTERM)
        try:
            exit_code: int | None = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            exit_code = None
            self.kill()
        return perf_counter() - start, exit_code

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()


@contextmanager
def memory_limit(megabytes: int) -> Iterator[Path]:
    """Yield the folder of a cgroup with a limit of memory; needs Linux and root."""
    is_v1 = (_CGROUPS / "memory").is_dir()
    cgroup = (_CGROUPS / "memory" if is_v1 else _CGROUPS) / f"attack-{os.getpid()}"
    cgroup.mkdir()
    try:
        limit = cgroup / ("memory.limit_in_bytes" if is_v1 else "memory.max")
        limit.write_text(str(megabytes * 2**20), encoding="ascii")
        yield cgroup
    finally:
        cgroup.rmdir()


class Liveness:
    """A process that polls liveness every 100 ms."""

    def __init__(self, port: int) -> None:
        context = get_context("spawn")
        self._waits = context.Array("d", 2)  # the longest, and when the present one began
        self._poller = context.Process(target=_poll, args=(port, self._waits), daemon=True)
        self._poller.start()
        while not self._waits[0]:
            sleep(0.05)

    def longest_wait(self) -> float:
        """Return the longest wait so far in seconds, that which is going on included."""
        longest, since = self._waits[:]
        return max(longest, perf_counter() - since if since else 0.0)

    def close(self) -> None:
        """End the process."""
        self._poller.kill()
        self._poller.join()


def _poll(port: int, waits: MutableSequence[float]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=230)
    while True:
        waits[1] = start = perf_counter()
        try:
            connection.request("GET", "/api/health/live")
            connection.getresponse().read()
        except (OSError, HTTPException):  # the host has ended, which the case notices
            connection.close()
        waits[:] = [max(waits[0], perf_counter() - start), 0.0]
        sleep(_POLL_SECONDS)
