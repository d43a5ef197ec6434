"""``python -m benchmarks.wires``: parse, predict and encode 1, 100 and 10,000 rows, compared with the obvious way.

The obvious way is ``json.loads``, ``np.array`` of the nested lists, ``json.dumps`` of ``tolist()``. Also measures how
much of a request with two rows is spent outside the engine. Prints two Markdown tables.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import azure.functions as func
import numpy as np
from tqdm import tqdm

import PredictXor
from serving.models import repository
from serving.models.model import Model
from serving.wire import open_inference, tf_serving, x_labels

_ROWS = (1, 100, 10_000)
_SECONDS = 0.3  # per figure


class Protocol(NamedTuple):
    """One way to send rows: the request's body, and functions from it to feeds and from fetches to bytes."""

    body: bytes
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def _median_seconds(call: Callable[[], Any]) -> float:
    times: list[float] = []
    deadline = perf_counter() + _SECONDS
    while perf_counter() < deadline or len(times) < 5:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return median(times)


async def _median_of_main(request: func.HttpRequest) -> float:
    times: list[float] = []
    deadline = perf_counter() + _SECONDS
    while perf_counter() < deadline:
        start = perf_counter()
        await PredictXor.main(request)
        times.append(perf_counter() - start)
        await asyncio.sleep(0)  # let the loop turn, as between requests from a network
    return median(times)


def _protocols(model: Model, rows: np.ndarray) -> dict[str, Protocol]:
    signature, lists = model.signature(), rows.tolist()
    text = "|".join(" ".join(map(repr, row)) for row in lists)
    tensor = {"name": "X", "datatype": "FP32", "shape": rows.shape}
    binary = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": rows.nbytes}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()

    def infer(length: int | None) -> Callable[[bytes], Any]:
        return lambda body: open_inference.decode_infer(body, length, signature)

    def encode(body: bytes, length: int | None) -> Callable[[Any], bytes]:
        request = open_inference.decode_infer(body, length, signature)
        return lambda fetches: open_inference.encode_infer("xor", 1, request, fetches, signature)[0]

    json_tensors = json.dumps({"inputs": [{**tensor, "data": rows.ravel().tolist()}]}).encode()
    binary_body = binary + rows.tobytes()
    return {
        "the obvious way": Protocol(
            json.dumps({"X": lists}).encode(),
            lambda body: {"X": np.array(json.loads(body)["X"], np.float32)},
            lambda fetches: json.dumps({"labels": fetches["labels"].tolist()}).encode(),
        ),
        "2017 format, lists": Protocol(
            json.dumps({"X": lists}).encode(), lambda body: x_labels.decode(body, signature), x_labels.encode
        ),
        "2017 format, text": Protocol(
            json.dumps({"X": text}).encode(), lambda body: x_labels.decode(body, signature), x_labels.encode
        ),
        "TensorFlow Serving, rows": Protocol(
            json.dumps({"instances": lists}).encode(),
            lambda body: tf_serving.decode_predict(body, model.signatures).feeds,
            lambda fetches: tf_serving.encode_predict(fetches, by_rows=True),
        ),
        "Open Inference, JSON": Protocol(json_tensors, infer(None), encode(json_tensors, None)),
        "Open Inference, binary": Protocol(binary_body, infer(len(binary)), encode(binary_body, len(binary))),
    }


def _wire_lines(model: Model) -> list[str]:
    lines = []
    for count in _ROWS:
        rows = np.random.default_rng(0).random((count, 2)).astype(np.float32).round(6)
        run = partial(model._session.run, "serving_default", {"X": rows})
        fetches = run()
        predict = _median_seconds(run)
        naive = 0.0
        for name, protocol in _protocols(model, rows).items():
            parse = _median_seconds(partial(protocol.decode, protocol.body))
            encode = _median_seconds(partial(protocol.encode, fetches))
            naive = naive or parse + encode
            ratio = naive / (parse + encode)
            figures = " | ".join(f"{seconds * 1e6:,.1f}" for seconds in (parse, predict, encode))
            lines.append(f"| {count:,} | {name} | {figures} | {ratio:.2g} |")
    return lines


def _overhead_lines(model: Model) -> list[str]:
    request = func.HttpRequest(
        method="POST",
        url="https://app/api/PredictXor",
        headers={"content-type": "application/json"},
        params={},
        route_params={},
        body=b'{"X": "1 0|1 1"}',
    )
    feeds = {"X": np.array([[1, 0], [1, 1]], np.float32)}
    # The engine is replaced by its answer. Subtracting the time of the engine alone would be wrong: between the app's
    # other work the engine is slower than in a loop of its own.
    fetches = model._session.run("serving_default", feeds)
    logging.getLogger("serving.request").setLevel(logging.WARNING)
    whole = asyncio.run(_median_of_main(request))
    engine = model._session.run
    model._session.run = lambda *_: fetches  # type: ignore[method-assign]
    without = asyncio.run(_median_of_main(request))
    model._session.run = engine  # type: ignore[method-assign]
    return [f"| {whole * 1e6:.1f} | {without * 1e6:.1f} |"]


def main() -> None:
    """Measure and print the tables."""
    argparse.ArgumentParser(prog="python -m benchmarks.wires", description=__doc__).parse_args()
    model = repository.shared().get("xor")
    with tqdm(total=2, desc="measuring") as progress:
        wires = _wire_lines(model)
        progress.update()
        overhead = _overhead_lines(model)
        progress.update()
    print("| rows | protocol | parse, µs | predict, µs | encode, µs | parse + encode: times the obvious way's speed |")
    print("|---:|---|---:|---:|---:|---:|", *wires, sep="\n")
    print("\n| `main(req)`, 2 rows, µs | the app without the engine, µs |")
    print("|---:|---:|", *overhead, sep="\n")


if __name__ == "__main__":
    main()
