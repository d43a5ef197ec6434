"""Damage to model files: by bytes, by what JSON says, by what an archive or an HDF5 file holds. All of it is seeded."""

from __future__ import annotations

import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Damage = Callable[[random.Random, Path], None]

# What a member of a description may become.
_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 10**9, 2**63, 1e308, "", "x", "../x", "/etc/passwd", "relu", "float64", "\ud800"),
    *([], {}, [None], [-1], [10**9], [[]], {"class_name": "Dense"}, {"class_name": "Lambda", "config": {}}),
    *(
        {"class_name": "__tensor__", "config": {}},
        {"class_name": "function", "config": "eval"},
        float("nan"),
        "x" * 10**5,
    ),
)
_NAMES = ("Dense", "LSTM", "Lambda", "Sequential", "Functional", "Model", "InputLayer", "Embedding", "Conv2D", "eval")


# --- bytes ---


def flip_bits(random: random.Random, path: Path) -> None:
    """Flip one to eight bits."""
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def truncate(random: random.Random, path: Path) -> None:
    """Cut off the end."""
    data = path.read_bytes()
    path.write_bytes(data[: random.randrange(len(data))])


def overwrite(random: random.Random, path: Path) -> None:
    """Put noise, zeros, or another part of the file over a part of it."""
    data = bytearray(path.read_bytes())
    size = min(random.choice((1, 4, 8, 64, 512)), len(data))
    start = random.randrange(len(data) - size + 1)
    other = random.randrange(len(data) - size + 1)
    data[start : start + size] = random.choice((random.randbytes(size), bytes(size), data[other : other + size]))
    path.write_bytes(data)


def set_number(random: random.Random, path: Path) -> None:
    """Write an extreme number over four or eight bytes."""
    data = bytearray(path.read_bytes())
    number = struct.pack("<q", random.choice((-1, 0, 2**31 - 1, 2**32 - 1, 2**40, 2**62)))[: random.choice((4, 8))]
    start = random.randrange(len(data) - len(number) + 1)
    data[start : start + len(number)] = number
    path.write_bytes(data)


def insert(random: random.Random, path: Path) -> None:
    """Insert or remove bytes somewhere."""
    data = path.read_bytes()
    start = random.randrange(len(data))
    piece = random.choice((random.randbytes(16), data[: random.randrange(1, 64)], b""))
    path.write_bytes(data[:start] + piece + data[start + random.choice((0, 1, 16)) :])


def empty(random: random.Random, path: Path) -> None:
    """Leave nothing, or only the first bytes."""
    path.write_bytes(path.read_bytes()[: random.choice((0, 1, 8, 64))])


BYTES: tuple[Damage, ...] = (flip_bits, flip_bits, flip_bits, truncate, overwrite, set_number, insert, empty)


# --- JSON ---


def edited(random: random.Random, text: str) -> str:
    """Return JSON with some of its members changed, moved, doubled or left out."""
    document = json.loads(text)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        holders = list(_holders(document))
        if holders:
            random.choice(_EDITS)(random, *random.choice(holders), random.choice(holders))
    text = json.dumps(document)
    return random.choice(_TEXT_EDITS)(random, text) if random.random() < 0.1 else text


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _holders(item)


def _set(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    holder[key] = random.choice(_VALUES)


def _rename(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    if isinstance(holder, dict) and "class_name" in holder:
        holder["class_name"] = random.choice(_NAMES)
    elif isinstance(holder, dict):
        holder[random.choice(("x", "units", "class_name", "module"))] = holder.pop(key)


def _swap(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    place, name = other
    if name in place if isinstance(place, dict) else name < len(place):
        holder[key] = json.loads(json.dumps(place[name]))


def _remove(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    del holder[key]


def _double(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    if isinstance(holder, list):
        holder.extend([holder[key]] * random.choice((1, 3, 100)))


def _nest(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    for _ in range(random.choice((1, 10, 300))):
        holder[key] = random.choice(
            ([holder[key]], {"class_name": "TimeDistributed", "config": {"layer": holder[key]}})
        )


def _scale(random: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    if isinstance(holder[key], int | float):
        holder[key] = random.choice((holder[key] * 10**6, -holder[key], holder[key] + 1, str(holder[key])))


_EDITS = (_set, _set, _rename, _swap, _remove, _double, _nest, _scale)

_TEXT_EDITS: tuple[Callable[[random.Random, str], str], ...] = (
    lambda random, text: text[: random.randrange(len(text))],
    lambda random, text: "[" * 10**5 + text,
    lambda random, text: json.dumps(text),
    lambda random, text: text.replace(":", ": NaN,", 1),
    lambda random, text: "\ufeff" + text,
    lambda random, text: text.replace("Dense", "D\\ud800ense"),
    lambda random, text: text[:-1] + ', "class_name": "Lambda"}',
)


def edit_json(random: random.Random, path: Path) -> None:
    """Edit a JSON file."""
    text = edited(random, path.read_text(encoding="utf-8"))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


# --- archives ---


def edit_archive(random: random.Random, path: Path) -> None:
    """Change an entry of a zip archive: its content, its name, or how often it is there."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    index = random.randrange(len(entries))
    name, content = entries[index]
    kind = random.randrange(7)
    if kind < 3 and name.endswith(".json"):
        content = edited(random, content.decode()).encode("utf-8", "surrogatepass")
    elif kind < 3:
        content = _damaged(random, path.with_suffix(".tmp"), content)
    elif kind == 3:
        name = random.choice(("../x", "/x", "x", "C:\\x", "config.json/x", "", "a" * 60_000, name.upper()))
    elif kind == 4:
        entries.append((name, random.randbytes(64)))
    elif kind == 5:
        content = random.choice((b"", bytes(10**7), b"[" * 10**6))
    entries[index] = (name, content)
    if kind == 6:
        del entries[index]
    _write_archive(path, entries, random)


def _write_archive(path: Path, entries: list[tuple[str, bytes]], random: random.Random) -> None:
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)


def _damaged(random: random.Random, path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    random.choice((*BYTES, edit_hdf5, edit_hdf5))(random, path)
    content = path.read_bytes()
    path.unlink()
    return content


# --- HDF5 ---


def edit_hdf5(random: random.Random, path: Path) -> None:
    """Change a dataset, a link or an attribute of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = random.choice(names)
        if isinstance(file[name], h5py.Dataset) and random.random() < 0.7:
            old = file[name]
            shape, dtype = old.shape, old.dtype
            del file[name]
            random.choice(_DATASETS)(file, name, shape, dtype)
        elif random.random() < 0.5:
            random.choice(_LINKS)(file, name)
        else:
            _edit_attribute(random, random.choice((file, file[name])))


_DATASETS: tuple[Callable[[h5py.File, str, Any, Any], object], ...] = (
    lambda file, name, shape, dtype: file.create_dataset(name, (*shape, 1), dtype),
    lambda file, name, shape, dtype: file.create_dataset(name, (), dtype),
    lambda file, name, shape, dtype: file.create_dataset(name, (0, *shape), dtype),
    lambda file, name, shape, dtype: file.create_dataset(name, (10**6, 10**6), dtype, chunks=True),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, "f8", compression="gzip"),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, "S9"),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, h5py.string_dtype()),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, np.dtype([("a", "f4"), ("b", "i8")])),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, "c16"),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, dtype, data=np.full(shape, np.nan)),
    lambda file, name, shape, dtype: file.create_dataset(name, data=h5py.Empty("f4")),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, h5py.ref_dtype),
    lambda file, name, shape, dtype: file.create_group(name),
    lambda file, name, shape, dtype: file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, 10**6)]),
)

_LINKS: tuple[Callable[[h5py.File, str], object], ...] = (
    lambda file, name: file.__delitem__(name),
    lambda file, name: file.move(name, name + "x"),
    lambda file, name: file.move(name, "\\".join(name.split("/"))),
    lambda file, name: file.__setitem__(name + "y", h5py.SoftLink("/")),
    lambda file, name: file.__setitem__(name + "y", h5py.ExternalLink("/etc/passwd", "/")),
    lambda file, name: file.__setitem__(name + "y", file["/"]),
    lambda file, name: file.__setitem__("z", np.dtype("f4")),
)


def _edit_attribute(random: random.Random, holder: Any) -> None:
    names = list(holder.attrs) or ["layer_names"]
    name = random.choice(names)
    value = holder.attrs.get(name)
    if name == "model_config" and random.random() < 0.8:
        holder.attrs[name] = edited(random, value if isinstance(value, str) else value.decode()).encode(
            "utf-8", "surrogatepass"
        )
    else:
        holder.attrs[name] = random.choice((b"", "x", 7, np.zeros(3), [b"a", b"b"], [b"\xff"], h5py.Empty("f4"), 1e9))
