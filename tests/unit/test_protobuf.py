"""Fields of protocol buffers, byte by byte: what is read, and what is refused."""

import pytest

from serving.engines.protobuf import fields, map_entry, text


def read(data, **options):
    return [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in fields(memoryview(data), **options)
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"\x08\x00", [(1, 0)], id="0"),
        pytest.param(b"\x08\x7f", [(1, 0x7F)], id="the largest of one byte"),
        pytest.param(b"\x08\x80\x01", [(1, 0x80)], id="the smallest of two bytes"),
        pytest.param(b"\x08\x81\x80\x01\x10\x05", [(1, 0x4001), (2, 5)], id="three bytes, and another field"),
        pytest.param(b"\x08" + b"\xff" * 9 + b"\x01", [(1, 2**64 - 1)], id="-1, in ten bytes"),
        pytest.param(b"\x80\x01\x05", [(16, 5)], id="a field number of two bytes"),
        pytest.param(b"\xf8\xff\xff\xff\x0f\x05", [(2**29 - 1, 5)], id="the largest field number"),
        pytest.param(b"\x0a\x02ab\x12\x00", [(1, b"ab"), (2, b"")], id="bytes"),
        pytest.param(b"\x0a\x80\x01" + b"x" * 128, [(1, b"x" * 128)], id="a size of two bytes"),
        pytest.param(b"\x09" + b"x" * 8 + b"\x15" + b"x" * 4 + b"\x18\x07", [(3, 7)], id="fixed sizes are left out"),
    ],
)
def test_fields_are_read_in_their_order(data, expected):
    assert read(data) == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"\x08", "truncated", id="no value"),
        pytest.param(b"\x08\x80", "truncated", id="half a number"),
        pytest.param(b"\x80", "truncated", id="half a field number"),
        pytest.param(b"\x08" + b"\xff" * 10, "truncated", id="a number that does not end after ten bytes"),
        pytest.param(b"\x08" + b"\xff" * 10 + b"\x01", "truncated", id="a number of eleven bytes"),
        pytest.param(b"\x0a\x03ab", "truncated", id="bytes that are too few"),
        pytest.param(b"\x0a\x01", "truncated", id="no bytes"),
        pytest.param(b"\x09" + b"x" * 7, "truncated", id="too few of a fixed size"),
        pytest.param(b"\x0b", "unknown protocol buffer field 1 of wire type 3", id="a group"),
        pytest.param(b"\x0e", "wire type 6", id="a wire type that does not exist"),
        pytest.param(b"\x80\x80\x80\x80\x10\x00", "field 536870912", id="a field number beyond the largest"),
        pytest.param(b"\x80\x80\x80\x80\x20\x00", "field 1073741824", id="a field number far beyond the largest"),
    ],
)
def test_bytes_that_are_no_message_are_refused(data, says):
    with pytest.raises(ValueError, match=says):
        read(data)


def test_a_field_occurs_once_where_it_must():
    assert read(b"\x08\x01\x10\x02\x10\x03", once=(1,)) == [(1, 1), (2, 2), (2, 3)]
    with pytest.raises(ValueError, match="field 2 of a protocol buffer occurs twice"):
        read(b"\x10\x02\x08\x01\x10\x03", once=(1, 2))


@pytest.mark.parametrize("decode", [fields, text, map_entry])
def test_a_number_where_bytes_belong_is_refused(decode):
    with pytest.raises(ValueError, match="a number where TensorFlow writes bytes"):
        list(decode(5))


def test_text_is_utf_8():
    assert text(memoryview("grün".encode())) == "grün"
    with pytest.raises(ValueError, match="utf-8"):
        text(memoryview(b"\xff"))


@pytest.mark.parametrize(
    ("data", "key", "value"),
    [
        (b"\x0a\x01k\x12\x01v", "k", b"v"),
        (b"\x12\x01v\x0a\x01k", "k", b"v"),
        (b"\x0a\x01k", "k", b""),
        (b"\x12\x01v", "", b"v"),
        (b"\x1a\x01z", "", b""),
    ],
)
def test_an_entry_of_a_map_may_lack_its_key_or_value(data, key, value):
    found, entry = map_entry(memoryview(data))

    assert (found, bytes(entry)) == (key, value)


@pytest.mark.parametrize("data", [b"\x0a\x01k\x0a\x01l", b"\x12\x01v\x12\x01w"])
def test_an_entry_of_a_map_has_one_key_and_one_value(data):
    with pytest.raises(ValueError, match="occurs twice"):
        map_entry(memoryview(data))
