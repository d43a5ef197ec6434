"""Starts a function app in a bare interpreter, sends every request of its own OpenAPI document, prints the answers.

Run as a file by the Python of a package's target, with -I and -S, so that nothing installed on the machine can be
imported: ``python3.13 -I -S tools/package/bare.py APP --runtime FOLDER``. Prints one line of JSON. Needs only the
standard library.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import math
import multiprocessing
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

_PROJECT = Path(__file__).resolve().parents[2]
_JSON = {"Content-Type": "application/json"}
_ARTICLE = b'{"X": "1 0|1 1"}'  # the request of 2017

# struct's letters for the Open Inference Protocol's datatypes of fixed width.
_FORMATS = {"FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "BOOL": "?"}

# Bytes of a zero of the other types; of BYTES, its length.
_ZERO_BYTES = {"FP16": 2, "BF16": 2, "UINT16": 2, "UINT32": 4, "UINT64": 8, "BYTES": 4}


@dataclass(frozen=True)
class Answer:
    """A request and its answer."""

    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_guess: bool = False  # nobody has seen the model take the request


# send(function, method, rest of the path, headers, body)
Send = Callable[[str, str, str, Mapping[str, str], bytes], Answer]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", type=Path, help="the unpacked package")
    parser.add_argument(
        "--runtime", type=Path, help="a folder with Microsoft's worker runtime; without it, main is called directly"
    )
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="an app setting")
    parser.add_argument("--first-only", action="store_true", help="stop after the first answer, for timing")
    return parser.parse_args()


def main() -> None:
    """Start the app, send the requests, and print the answers."""
    options = _arguments()
    app = options.app.resolve()
    # Nothing of this machine's environment, such as a home folder, may influence the app.
    for name in set(os.environ) - {"PATH"}:
        del os.environ[name]
    os.environ.update(setting.split("=", 1) for setting in options.setting)
    run = _under_microsofts_runtime if options.runtime else _called_directly
    run(app, options)


def _under_microsofts_runtime(app: Path, options: argparse.Namespace) -> None:
    sys.path += [str(_PROJECT), str(options.runtime.resolve())]
    from tools.worker_host.functions_host import Request
    from tools.worker_host.worker import Worker

    start = perf_counter()
    with Worker(app) as worker:
        loaded: set[str] = set()

        def send(function: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
            if function not in loaded:
                worker.load(function)
                loaded.add(function)
            request = Request(method, headers=headers, body=body, route_params={"path": path} if path else {})
            [response] = worker.requests(function, [request])
            return Answer(f"{method} {function} {path}".strip(), response.status, response.headers, response.body)

        _report(app, send, start, options.first_only)


def _called_directly(app: Path, options: argparse.Namespace) -> None:
    start = perf_counter()
    sys.path += [str(app / ".python_packages/lib/site-packages"), str(app)]
    import azure.functions as func

    # One loop for all requests, as a worker has.
    with asyncio.Runner() as runner:

        def send(function: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
            request = func.HttpRequest(
                method=method,
                url=f"https://app/api/{function}",
                headers=dict(headers),
                params={},
                route_params={"path": path} if path else {},
                body=body,
            )
            answer = importlib.import_module(function).main(request)
            response = runner.run(answer) if inspect.iscoroutine(answer) else answer
            head = {name.lower(): value for name, value in response.headers.items()}
            return Answer(f"{method} {function} {path}".strip(), response.status_code, head, response.get_body())

        _report(app, send, start, options.first_only)


def _report(app: Path, send: Send, start: float, first_only: bool) -> None:
    function, path, body = _first_request(app)
    first = send(function, "POST" if body else "GET", path, _JSON if body else {}, body)
    seconds, resident = perf_counter() - start, _resident_kib()
    answers = [first] if first_only else [first, *_all_documented(app, send)]
    shown = [
        {
            "request": answer.request,
            "status": answer.status,
            "body": answer.body[:300].decode(errors="replace"),
            "is_guess": answer.is_guess,
        }
        for answer in answers
    ]
    print(json.dumps({"first_answer_seconds": seconds, "resident_kib": resident, "answers": shown}))


def _resident_kib() -> int:
    """Return the resident memory of the worker process, or of this one where the app runs in it."""
    process = next((str(child.pid) for child in multiprocessing.active_children()), "self")
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmRSS:")[2].split()[0])


def _first_request(app: Path) -> tuple[str, str, bytes]:
    if (app / "PredictXor").is_dir():
        return "PredictXor", "", _ARTICLE
    return "OpenApi", "", b""


def _all_documented(app: Path, send: Send) -> Iterator[Answer]:
    """Send every operation of the app's OpenAPI document with its example."""
    routes = _routes(app)
    document = send("OpenApi", "GET", "", {}, b"")
    yield document
    for place, operations in json.loads(document.body)["paths"].items():
        function, path = _function_at(place, routes)
        for method in ("get", "post"):
            if method not in operations:
                continue
            described = operations[method].get("requestBody", {})
            request, is_guess = described.get("content", {}), described.get("x-guess", False)
            example = request.get("application/json", {}).get("example")
            if request and example is None:  # too large for the document
                if place.endswith("/infer"):
                    yield replace(_raw(send, function, path), is_guess=is_guess)
                continue
            body = json.dumps(example).encode() if example is not None else b""
            answer = replace(send(function, method.upper(), path, _JSON if body else {}, body), is_guess=is_guess)
            yield answer
            if method == "post" and place.endswith("/infer") and answer.status == 200:
                yield from _as_binary(send, function, path, example, answer)


def _routes(app: Path) -> list[tuple[str, str]]:
    """Return the fixed part of each function's route with its name, the longest first."""
    routes = []
    for config in sorted(app.glob("*/function.json")):
        bindings = json.loads(config.read_text(encoding="utf-8"))["bindings"]
        trigger = next(binding for binding in bindings if binding["type"].endswith("Trigger"))
        if trigger["type"] == "httpTrigger":
            routes.append((trigger.get("route", config.parent.name).partition("{")[0].rstrip("/"), config.parent.name))
    return sorted(routes, key=lambda route: len(route[0]), reverse=True)


def _function_at(place: str, routes: Sequence[tuple[str, str]]) -> tuple[str, str]:
    place = place.strip("/")
    for route, function in routes:
        if place == route or place.startswith(f"{route}/"):
            return function, place.removeprefix(route).strip("/")
    raise SystemExit(f"No function of the package has the documented path /{place}.")


def _as_binary(send: Send, function: str, path: str, example: Any, in_json: Answer) -> Iterator[Answer]:
    """Send an example with binary tensors; an answer that differs from the one in JSON counts as 500."""
    if any(tensor["datatype"] not in _FORMATS for tensor in example["inputs"]):
        return
    inputs, data = [], b""
    for tensor in example["inputs"]:
        values = list(_flat(tensor["data"]))
        raw = struct.pack(f"<{len(values)}{_FORMATS[tensor['datatype']]}", *values)
        described = {key: tensor[key] for key in ("name", "datatype", "shape")}
        inputs.append({**described, "parameters": {"binary_data_size": len(raw)}})
        data += raw
    text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    answer = send(function, "POST", path, headers, text + data)
    same = answer.status == in_json.status == 200 and _are_close(_outputs(answer), _outputs(in_json))
    yield Answer(f"{answer.request}, binary", 200 if same else 500, answer.headers, b"" if same else answer.body)


def _raw(send: Send, function: str, path: str) -> Answer:
    """Send the example that the model's metadata has, with zeros as raw bytes."""
    inputs, total = [], 0
    for tensor in json.loads(send(function, "GET", path.removesuffix("/infer"), {}, b"").body)["inputs"]:
        example, kind = tensor["parameters"]["example"], tensor["datatype"]
        sent = {"name": tensor["name"], "datatype": kind, **example}
        if "data" not in example:
            size = math.prod(example["shape"]) * (_ZERO_BYTES.get(kind) or struct.calcsize(_FORMATS[kind]))
            sent["parameters"] = {"binary_data_size": size}
            total += size
        inputs.append(sent)
    text = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    return send(function, "POST", path, headers, text + bytes(total))


def _outputs(answer: Answer) -> dict[str, list[float]]:
    size = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    place, outputs = size, {}
    for tensor in json.loads(answer.body[:size])["outputs"]:
        if "data" in tensor:
            values = list(_flat(tensor["data"]))
        else:
            end = place + tensor["parameters"]["binary_data_size"]
            form = _FORMATS[tensor["datatype"]]
            values = [value for (value,) in struct.iter_unpack(f"<{form}", answer.body[place:end])]
            place = end
        outputs[tensor["name"]] = values
    return outputs


def _are_close(one: dict[str, list[float]], other: dict[str, list[float]]) -> bool:
    return one.keys() == other.keys() and all(
        len(values) == len(other[name]) and all(map(partial(math.isclose, rel_tol=1e-5), values, other[name]))
        for name, values in one.items()
    )


def _flat(value: Any) -> Iterator[Any]:
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _flat(item)


if __name__ == "__main__":
    main()
