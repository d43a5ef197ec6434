"""Protocol buffers, read as far as serving needs: fields by number, nothing decoded that is not asked for.

The wire format is protobuf.dev/programming-guides/encoding. Neither ``tensorflow`` nor ``protobuf`` is imported for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

# Wire type -> bytes of its value; None where a varint says it, or is it.
_SIZES = {0: None, 1: 8, 2: None, 5: 4}


def map_entry(data: memoryview) -> tuple[str, memoryview]:
    """Return key and value of a map's entry, where the key is text and the value a message."""
    key, entry = "", memoryview(b"")
    for number, value in fields(data, once=(1, 2)):
        if number == 1:
            key = text(value)
        elif number == 2:
            entry = value
    return key, entry


def text(value: memoryview | int) -> str:
    """Return a field of type string; raises ValueError where it is not UTF-8."""
    return bytes(_view(value)).decode()


def fields(data: memoryview | int, once: Collection[int] = ()) -> Iterator[tuple[int, Any]]:
    """Yield each field's number and value: an int of a varint, a view of the bytes of a string or message.

    Numbers of fixed size are left out: no field that serving needs is one. Raises ValueError where the bytes are no
    message, and for a second value of a field that occurs ``once``: TensorFlow may read another of the two.
    """
    view, position, seen = _view(data), 0, set()
    while position < len(view):
        tag, position = _varint(view, position)
        number, wire_type = tag >> 3, tag & 7
        if tag >= 1 << 32 or wire_type not in _SIZES:
            raise ValueError(f"unknown protocol buffer field {number} of wire type {wire_type}")
        if number in seen:
            raise ValueError(f"field {number} of a protocol buffer occurs twice")
        if number in once:
            seen.add(number)
        size = _SIZES[wire_type]
        if size is None:
            size, position = _varint(view, position)
        if wire_type == 0:
            yield number, size
            continue
        if position + size > len(view):
            raise ValueError("truncated protocol buffer")
        if wire_type == 2:
            yield number, view[position : position + size]
        position += size


def _view(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a protocol buffer has a number where TensorFlow writes bytes")
    return value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    if position < len(data) and data[position] < 0x80:  # nearly all have one byte
        return data[position], position + 1
    result = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:  # the longest has ten bytes
            break
    raise ValueError("truncated protocol buffer")
