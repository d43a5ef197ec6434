"""``python -m benchmarks.soak``: minutes of mixed requests at full load, valid and invalid, each answer checked.

Sixteen connections send requests of all three protocols in a seeded random order: one row to a thousand, JSON and
binary tensors, and mistakes of every kind. Writes ``docs/soak.md`` and a plot. Returns 1 if any answer was wrong.
With ``--store`` the models come from Azurite, where they are changed all the time; that writes ``docs/store_soak.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from tqdm import tqdm

from benchmarks.figures import ROOT
from benchmarks.peers import models
from benchmarks.soak_store import DisturbedStore, disturbed

_PORT = 7093
_CONNECTIONS = 16
_WINDOW_SECONDS = 10


@dataclass(frozen=True)
class Case:
    """A request as bytes, how often it is sent, and how its answer is checked."""

    name: str
    weight: int
    request: bytes
    status: int
    is_right: Callable[[bytes], bool]


@dataclass
class Window:
    """Ten seconds of the soak: latencies in seconds, and memory in KiB at the end."""

    latencies: list[float] = field(default_factory=list)
    rss: int = 0
    pss: int = 0

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return float(np.quantile(self.latencies, share)) * 1e3


@dataclass
class Soak:
    """The results: windows in time, requests by kind, and wrong answers."""

    windows: list[Window]
    counts: Counter[str]
    wrong: list[str]
    served: Counter[str] = field(default_factory=Counter)  # answers by model and version
    done: Counter[str] = field(default_factory=Counter)  # what happened to the store


def _request(path: str, body: bytes, method: str = "POST", **headers: str) -> bytes:
    lines = [f"{method} /api/{path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if "Content_Type" not in headers else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _labels(member: str, expected: np.ndarray) -> Callable[[bytes], bool]:
    return lambda body: np.allclose(json.loads(body)[member], expected, atol=1e-5)


def _says(text: str) -> Callable[[bytes], bool]:
    return lambda body: text.encode() in body and b"Traceback" not in body


def _xor_cases() -> Iterator[Case]:
    with np.load(models.FOLDER / "xor.npz") as saved:
        rows, labels = saved["rows"], saved["labels"]
    for count, weight in ((1, 20), (2, 30), (100, 5), (1000, 1)):
        picked = np.arange(count) % len(rows)
        lists, expected = rows[picked].tolist(), labels[picked]
        text = "|".join(" ".join(map(str, row)) for row in lists)
        yield _good(f"2017 text, {count}", weight, "PredictXor", {"X": text}, "labels", expected)
        yield _good(f"2017 lists, {count}", weight, "PredictXor", {"X": lists}, "labels", expected)
        path = "v1/models/xor:predict"
        yield _good(f"instances, {count}", weight, path, {"instances": lists}, "predictions", expected)
        tensor = {"name": "X", "datatype": "FP32", "shape": [count, 2], "data": np.ravel(lists).tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()
        request = _request("v2/models/xor/infer", body)
        yield Case(f"Open Inference, {count}", weight, request, 200, _tensor_is(expected))


def _good(name: str, weight: int, path: str, document: object, member: str, expected: np.ndarray) -> Case:
    return Case(name, weight, _request(path, json.dumps(document).encode()), 200, _labels(member, expected))


def _tensor_is(expected: np.ndarray) -> Callable[[bytes], bool]:
    return lambda body: np.allclose(json.loads(body)["outputs"][0]["data"], expected.ravel(), atol=1e-5)


def _mlp_cases() -> Iterator[Case]:
    with np.load(models.FOLDER / "mlp-32.npz") as saved:
        rows, labels = saved["rows"].astype(np.float32), saved["labels"]
    for count, weight in ((1, 10), (32, 3)):
        path = "v1/models/mlp:predict"
        document = {"instances": rows[:count].tolist()}
        yield _good(f"MLP as JSON, {count}", weight, path, document, "predictions", labels[:count])
    tensor = {
        "name": "X",
        "datatype": "FP32",
        "shape": rows.shape,
        "parameters": {"binary_data_size": rows.nbytes},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    sizes = {"Inference_Header_Content_Length": str(len(header)), "Content_Type": "application/octet-stream"}
    request = _request("v2/models/mlp/infer", header + rows.tobytes(), **sizes)
    yield Case("MLP, binary tensors, 32", 6, request, 200, _tensor_is(labels))


def _bad_cases() -> Iterator[Case]:
    post = _request
    for name, request, status, text in (
        ("not JSON", post("PredictXor", b'{"X": '), 400, "JSON"),
        ("a short row", post("PredictXor", b'{"X": "1 0|1"}'), 400, "in row 2"),
        ("a word", post("PredictXor", b'{"X": "1 x"}'), 400, "column 2"),
        ("NaN", post("PredictXor", b'{"X": [[NaN, 1]]}'), 400, "finite"),
        ("too deep", post("v1/models/xor:predict", b"[" * 5000), 400, "error"),
        ("a wrong shape", post("v1/models/mlp:predict", b'{"instances": [[1, 2]]}'), 400, "784"),
        ("no such model", post("v1/models/none:predict", b"{}"), 404, "none"),
        ("bytes missing", post("v2/models/xor/infer", b"{}"), 400, "error"),
        ("a wrong type", post("PredictXor", b"1 0", Content_Type="text/plain"), 415, "application/json"),
        ("a wrong method", post("PredictXor", b"", "PUT"), 405, "POST"),
        ("too large", post("PredictXor", b" " * (20 * 2**20 + 1)), 413, "20971520"),
    ):
        weight = 1 if len(request) > 2**20 else 12
        yield Case(f"bad: {name}", weight, request, status, _says(text))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, str]:
    """Return a response's status, body and model with its version."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length, model = (_header(head, name) for name in (b"content-length", b"x-model"))
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length)), model


def _header(head: bytes, name: bytes) -> str:
    return head.partition(name + b":")[2].partition(b"\r\n")[0].strip().decode()


async def _client(cases: list[Case], soak: Soak, random_: random.Random, deadline: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", _PORT, limit=2**24)
    weights = [case.weight for case in cases]
    while perf_counter() < deadline:
        for case in random_.choices(cases, weights, k=50):
            start = perf_counter()
            writer.write(case.request)
            await writer.drain()
            status, body, model = await _answer(reader)
            soak.windows[-1].latencies.append(perf_counter() - start)
            soak.counts[case.name] += 1
            soak.served[model] += 1
            if status != case.status or not case.is_right(body):
                soak.wrong.append(f"{case.name}: {status} {body[:200]!r}")
    writer.close()


async def _watch(process: int, soak: Soak, deadline: float, progress: tqdm) -> None:
    while perf_counter() < deadline:
        await asyncio.sleep(min(_WINDOW_SECONDS, deadline - perf_counter()))
        window = soak.windows[-1]
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        figures = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
        window.rss, window.pss = int(figures["Rss"]), int(figures["Pss"])
        soak.windows.append(Window())
        progress.update(_WINDOW_SECONDS)
        progress.set_postfix(wrong=len(soak.wrong), p99=f"{window.percentile(0.99):.1f} ms")


async def _soak(process: int, seconds: int, cases: list[Case], store: DisturbedStore | None) -> Soak:
    soak = Soak([Window()], Counter(), [])
    deadline = perf_counter() + seconds
    with tqdm(total=seconds, desc="soaking", unit="s") as progress:
        clients = [_client(cases, soak, random.Random(seed), deadline) for seed in range(_CONNECTIONS)]
        disturbances = [store.disturb(deadline)] if store else []
        await asyncio.gather(_watch(process, soak, deadline, progress), *clients, *disturbances)
    soak.done = store.done if store else soak.done
    # The last window is incomplete.
    soak.windows = [window for window in soak.windows[:-1] if window.rss]
    return soak


@contextmanager
def _host(settings: Mapping[str, str]) -> Iterator[int]:
    """Run the local host with the two models; yield its process id once it listens."""
    environment = {
        **os.environ,
        **settings,
        "AzureFunctionsJobHost__logging__logLevel__default": "Error",
    }
    command = [sys.executable, "-m", "tools.local_host", "--port", str(_PORT)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()  # printed once it listens
            yield child.pid
        finally:
            child.terminate()


def _source(from_store: bool) -> AbstractContextManager[tuple[DisturbedStore | None, Mapping[str, str]]]:
    """Return where the host has its models from, and the app settings that say so."""
    folder = models.FOLDER / "ours"
    return disturbed(folder, "xor") if from_store else nullcontext((None, {"SERVING_MODEL_PATH": str(folder)}))


def _markdown(soak: Soak, seconds: int, plot: str) -> str:
    windows, requests = soak.windows, sum(soak.counts.values())
    bad = sum(count for name, count in soak.counts.items() if name.startswith("bad"))
    command = "python -m benchmarks.soak --store" if soak.done else "python -m benchmarks.soak"
    early, late = windows[1 : len(windows) // 3 + 1], windows[-(len(windows) // 3) :]
    lines = [
        "# Soak from a store" if soak.done else "# Soak",
        "",
        "For operators: whether answers, latency and memory stay right under load that lasts.",
        "",
        f"{requests:,} requests of {len(soak.counts)} kinds, {bad:,} of them invalid, were sent in {seconds:,} s over "
        f"{_CONNECTIONS} connections, with client and server on the same {os.cpu_count()} shared cores. Every answer "
        f"was checked: **{len(soak.wrong)}** were wrong, and none was missing. Measured with `{command}`.",
        "",
        "| | first third | last third |",
        "|---|---:|---:|",
    ]
    figures: list[tuple[str, Callable[[Window], float]]] = [
        ("requests/s", lambda window: len(window.latencies) / _WINDOW_SECONDS),
        ("p50, ms", lambda window: window.percentile(0.5)),
        ("p99, ms", lambda window: window.percentile(0.99)),
        ("resident memory, MB", lambda window: window.rss / 1024),
        ("proportional memory, MB", lambda window: window.pss / 1024),
    ]
    for name, figure in figures:
        values = (median(map(figure, part)) for part in (early, late))
        lines.append(f"| {name} | " + " | ".join(f"{value:,.1f}" for value in values) + " |")
    lines += _disturbances(soak)
    lines += ["", "Medians of windows of ten seconds, without the first window, which loads the models.", ""]
    return "\n".join([*lines, f"![Latency and memory over the minutes]({plot})", ""])


def _disturbances(soak: Soak) -> list[str]:
    if not soak.done:
        return []
    versions = sorted(model for model in soak.served if model)
    done = "; ".join(f"{what}: {count}" for what, count in sorted(soak.done.items()))
    return [
        "",
        "The models came from Azurite, and meanwhile versions of one of them changed there, in a random order. "
        f"How often: {done}. Answers came from {len(versions)} versions of the two models.",
    ]


def _plot(soak: Soak, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes = [(number + 1) * _WINDOW_SECONDS / 60 for number in range(len(soak.windows))]
    figure, (upper, lower) = pyplot.subplots(2, figsize=(9, 5), sharex=True, layout="constrained")
    for share, colour in ((0.5, "#0b6e4f"), (0.99, "#c1666b")):
        values = [window.percentile(share) for window in soak.windows]
        upper.plot(minutes, values, color=colour, label=f"p{share * 100:.0f}")
    upper.set_ylabel("latency, ms")
    upper.set_ylim(bottom=0)
    upper.legend()
    lower.plot(minutes, [window.rss / 1024 for window in soak.windows], color="#0b6e4f")
    lower.set_ylabel("resident memory, MB")
    lower.set_xlabel("minutes")
    lower.set_ylim(bottom=0)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main() -> int:
    """Run the soak and write the report; return 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="duration (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="default: docs/soak.md or docs/store_soak.md")
    parser.add_argument("--store", action="store_true", help="serve from a store that changes all the time")
    options = parser.parse_args()
    if options.seconds < 6 * _WINDOW_SECONDS:
        parser.error(f"--seconds must be at least {6 * _WINDOW_SECONDS}")
    models.prepare()
    cases = [*_xor_cases(), *_mlp_cases(), *_bad_cases()]
    output = options.output or ROOT / "docs" / ("store_soak.md" if options.store else "soak.md")
    with _source(options.store) as (store, settings), _host(settings) as process:
        soak = asyncio.run(_soak(process, options.seconds, cases, store))
    output.write_text(_markdown(soak, options.seconds, f"{output.stem}.png"), encoding="utf-8")
    _plot(soak, output.with_suffix(".png"))
    print(*soak.wrong[:10], f"{len(soak.wrong)} wrong answers; wrote {output}", sep="\n")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
