"""Bodies that are large, wrong at their end, or small beside what they unpack to; and what is anonymous."""

from __future__ import annotations

import asyncio
import gzip
import shutil
from collections.abc import Collection
from functools import partial
from pathlib import Path

import httpx

from benchmarks.attack import models
from benchmarks.attack.case import Case, Target

_SIZE = 20_900_000  # bytes; the limit is 20 MiB

_FORMATS = {"X": "PredictXor", "instances": "v1/models/xor:predict"}

_PUT_OFF = (400, 413, 503)

# A member's opening, what is repeated, and the end. The model takes rows of two numbers.
_BODIES = {
    "texts with a wrong last number": (b'"', b"1 0|", b'1 x"'),
    "lists with a wrong last number": (b"[", b"[1,0],", b"[1,NaN]]"),
    "lists with a wrong last string": (b"[", b"[1,0],", b'[1,"x"]]'),
    "lists with a short last row": (b"[", b"[1,0],", b"[1]]"),
    "empty lists": (b"[", b"[],", b"[]]"),
    "empty objects": (b"[", b"{},", b"{}]"),
    "empty strings": (b"[", b'"",', b'""]'),
    "one endless row": (b'"', b"1 ", b'1"'),
    "brackets": (b"", b"[", b""),
}


def _body(member: str, opening: bytes, repeated: bytes, end: bytes) -> bytes:
    return b'{"%b": %b%b%b}' % (member.encode(), opening, repeated * (_SIZE // len(repeated) - 8), end)


async def _send_bodies(target: Target, kind: str, count: int) -> None:
    await target.send("POST", "PredictXor", json={"X": [[1, 0]]})
    for member, path in _FORMATS.items():
        body = _body(member, *_BODIES[kind])
        # TensorFlow Serving takes NaN.
        expect = (*_PUT_OFF, 200) if b"NaN" in body and member == "instances" else _PUT_OFF
        await target.send_all(count, "POST", path, content=body, expect=expect)
    await _still_right(target)


async def _still_right(target: Target) -> None:
    response = await target.send("POST", "PredictXor", json={"X": [[1, 0], [1, 1]]})
    if response is not None:
        [[one], [zero]] = response.json()["labels"]
        target.check(one > 0.9 > 0.1 > zero, f"labels {one}, {zero}")


async def _unpack(target: Target) -> None:
    bomb = gzip.compress(bytes(1_000_000_000))
    expect: Collection[int] = (413, 503)
    for path in (*_FORMATS.values(), "v2/models/xor/infer", "v2/repository/index"):
        await target.send_all(8, "POST", path, content=bomb, headers={"Content-Encoding": "gzip"}, expect=expect)
    await _still_right(target)


async def _describe(target: Target) -> None:
    answers = await target.send_all(20, "GET", "openapi.json")
    sizes = [len(answer.content) for answer in answers if answer is not None]
    target.check(max(sizes, default=0) < 256 * 1024, f"a document of {max(sizes, default=0)} bytes")
    health = await target.send("GET", "health")
    target.check(isinstance(health, httpx.Response) and health.json() == {"status": "ready"}, "health names a model")


def _images(folder: Path) -> None:
    first = folder / "image0" / "1"
    models.save(first, lambda x: models.tensorflow().reduce_sum(x, [1, 2, 3])[:, None], [None, 1024, 1024, 3])
    for number in range(1, 12):
        shutil.copytree(first, folder / f"image{number}" / "1")
    models.save(folder / "huge" / "1", lambda x: x, [1_000_000_000, 1_000])


async def _answer_at_once(target: Target) -> None:
    """Twelve clients that each ask for an answer of 100 MB."""
    rows = b"[1,0]," * 3_000_000
    body = b'{"instances": [' + rows[:-1] + b"]}"
    await asyncio.gather(target.send_all(12, "POST", _FORMATS["instances"], content=body, expect=(200, 413, 503)))
    await _still_right(target)


CASES = [
    *(Case(f"{kind}, 8 at once", models.xor, partial(_send_bodies, kind=kind, count=8)) for kind in _BODIES),
    Case("eight gzip bodies of 1 GB at once", models.xor, _unpack),
    Case("twelve large good bodies at once", models.xor, _answer_at_once),
    Case("the documents of 13 models of large inputs", _images, _describe, {"SERVING_DEFAULT_MODEL": "image0"}),
    Case("empty lists in 512 MB", models.xor, partial(_send_bodies, kind="empty lists", count=8), memory_mb=512),
    Case(
        "texts with a wrong last number in 512 MB",
        models.xor,
        partial(_send_bodies, kind="texts with a wrong last number", count=8),
        {"SERVING_ENGINE": "litert"},
        512,
    ),
]
