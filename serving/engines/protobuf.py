"""Protocol buffers, read as far as serving needs: fields by number, nothing decoded that is not asked for.

The wire format is protobuf.dev/programming-guides/encoding. Neither ``tensorflow`` nor ``protobuf`` is imported for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def map_entry(data: memoryview) -> tuple[str, memoryview]:
    """Return key and value of a map's entry, where the key is text and the value a message."""
    key, entry = "", memoryview(b"")
    for number, value in fields(data):
        if number == 1:
            key = text(value)
        elif number == 2:
            entry = value
    return key, entry


def text(value: memoryview) -> str:
    """Return a field of type string; raises ValueError where it is not UTF-8."""
    return bytes(value).decode()


def fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield each field's number and value: an int of a varint, a view of the bytes of anything else.

    Which of them follows from the number, so that callers know. Raises ValueError where the bytes are no message.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value
            continue
        if wire_type == 2:
            length, position = _varint(data, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"unknown protocol buffer wire type {wire_type}")
        if position + length > len(data):
            raise ValueError("truncated protocol buffer")
        yield tag >> 3, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
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
