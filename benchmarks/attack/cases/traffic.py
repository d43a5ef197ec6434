"""Many requests: damaged ones at every endpoint, and good ones while versions are replaced."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import orjson

from benchmarks.attack import models
from benchmarks.attack.case import Case, Target
from benchmarks.figures import ROOT

_CLIENTS = 16
_FUZZED, _SWAPS = 20_000, 60

_TOKENS = (
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b'"', b"\\u0000", b"\xff\xfe", b"[" * 2_000, b"{}", b"\r\n\r\n"),
    *(b'{"b64": "AAAA"}', b'"shape": [1099511627776]', b'"datatype": "BYTES"', b"--boundary--", bytes(64)),
)
_TYPES = (
    *("application/json", "application/octet-stream", "application/x-npy", "image/png", "text/plain; x"),
    *("multipart/form-data", "multipart/form-data; boundary=b"),
)


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def _good_requests() -> Iterator[_Request]:
    """Yield a request of each kind that the XOR model and the model of handwritten digits answer."""
    yield _Request("POST", "PredictXor", b'{"X": "1 0|1 1"}')
    yield _Request("POST", "PredictXor", b'{"X": [[1, 0], [1, 1]]}')
    for path in ("", "/versions/1", "/metadata"):
        yield _Request("GET", f"v1/models/xor{path}")
    for verb, member in ("predict", "instances"), ("predict", "inputs"), ("classify", "examples"):
        yield _Request("POST", f"v1/models/xor:{verb}", b'{"%b": [[1, 0], [1, 1]]}' % member.encode())
    given = {"name": "X", "shape": [2, 2], "datatype": "FP32"}
    yield _Request("POST", "v2/models/xor/infer", orjson.dumps({"inputs": [given | {"data": [1, 0, 1, 1]}]}))
    header = orjson.dumps({"inputs": [given | {"parameters": {"binary_data_size": 16}}]})
    rows = np.array([[1, 0], [1, 1]], np.float32).tobytes()
    yield _Request("POST", "v2/models/xor/infer", header + rows, {"Inference-Header-Content-Length": str(len(header))})
    yield from (_Request("GET", path) for path in ("v2", "v2/models/xor", "v2/models/xor/ready", "openapi.json"))
    yield from (_Request("GET", path) for path in ("health", "health/live", "playground"))
    yield _Request("POST", "v2/repository/index", b'{"ready": true}')
    picture = next((ROOT / "docs" / "digits").glob("*.png")).read_bytes()
    yield _Request("POST", "models/digits/classify?top=3", picture, {"Content-Type": "image/png"})
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%b\r\n--b--\r\n' % picture
    yield _Request("POST", "models/digits/classify", form, {"Content-Type": "multipart/form-data; boundary=b"})


def _damaged(request: _Request, chance: random.Random) -> _Request:
    """Return the request with one to three mistakes in its body, its headers or its path."""
    body, headers, path, method = bytearray(request.body), dict(request.headers), request.path, request.method
    for _ in range(chance.randint(1, 3)):
        at = chance.randint(0, len(body))
        match chance.randrange(8):
            case 0 | 1:
                body[at:at] = chance.choice(_TOKENS)
            case 2:
                del body[at : at + chance.randint(1, 40)]
            case 3:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 4:
                body[at:at] = body[: chance.randint(0, len(body))]
            case 5:
                headers["Content-Type"] = chance.choice(_TYPES)
            case 6:
                number = str(chance.choice((-1, 0, 1, 7, 2**31, 2**63, "x")))
                headers[chance.choice(("Inference-Header-Content-Length", "Content-Encoding"))] = number
            case 7:
                cut = chance.randint(0, len(path))
                path = path[:cut] + quote(chance.choice(_TOKENS)[:50]) + path[cut + chance.randint(0, 3) :]
                method = chance.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS"))
    return _Request(method, path, bytes(body), headers)


async def _fuzz(target: Target) -> None:
    """Send damaged requests: a mistake may leave a good one, so any answer but a server's error will do."""
    chance, good = random.Random(0), list(_good_requests())
    for request in good:
        await _send(target, request, range(200, 404))
    requests = (_damaged(chance.choice(good), chance) for _ in range(_FUZZED))

    async def send_next() -> None:
        for request in requests:
            await _send(target, request, range(200, 500))

    await asyncio.gather(*(send_next() for _ in range(_CLIENTS)))
    for request in good:
        await _send(target, request, range(200, 404))


async def _send(target: Target, request: _Request, expect: range) -> None:
    response = await target.send(
        request.method, request.path, expect=expect, content=request.body, headers=request.headers
    )
    if response is not None:
        target.check(b"Traceback" not in response.content, f"{request.path} shows a traceback")


def _example_and_digits(folder: Path) -> None:
    for name in ("xor", "digits"):
        shutil.copytree(ROOT / "model" / name, folder / name)


def _counted(folder: Path, count: int) -> None:
    """Save versions that add their own number to the sum of a row; all but the first are hidden by a dot."""
    tf = models.tensorflow()
    for version in range(1, count + 1):
        where = folder / "counted" / ("1" if version == 1 else f".{version}")
        models.save(where, partial(lambda number, x: tf.reduce_sum(x, 1, keepdims=True) + number, version), [None, 2])


async def _swap(target: Target) -> None:
    """Predict with sixteen clients while versions appear; each answer must be that of the version that it names."""
    done = asyncio.Event()

    async def predict() -> None:
        while not done.is_set():
            response = await target.send("POST", "v1/models/counted:predict", json={"instances": [[1, 2]]})
            if response is not None and response.status_code == 200:
                version = int(response.headers["X-Model"].partition("/")[2])
                target.check(response.json() == {"predictions": [[3 + version]]}, f"an answer of version {version}")

    clients = [asyncio.create_task(predict()) for _ in range(_CLIENTS)]
    for version in range(2, _SWAPS + 1):
        (target.models / "counted" / f".{version}").rename(target.models / "counted" / str(version))
        await asyncio.sleep(0.25)
    await asyncio.sleep(2)
    done.set()
    await asyncio.gather(*clients)
    response = await target.send("POST", "v1/models/counted:predict", json={"instances": [[1, 2]]})
    target.check(
        response is not None and response.headers["X-Model"] == f"counted/{_SWAPS}", "the last version answers"
    )


CASES = [
    Case(f"{_FUZZED:,} damaged requests in 512 MB", _example_and_digits, _fuzz, {"SERVING_ENGINE": "litert"}, 512),
    Case(f"{_SWAPS} versions", partial(_counted, count=_SWAPS), _swap, {"SERVING_POLL_SECONDS": "0.1"}),
]
