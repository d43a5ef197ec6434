"""Bodies with pictures: raw, as a form, and as base64 in JSON."""

import base64
import json

import pytest

from serving.errors import BadRequestError, UnsupportedMediaTypeError
from serving.wire import uploads

ONE, TWO = b"one\r\n\x00--\xff", b"two"
FORM = "multipart/form-data; boundary=XX"


def part(content, disposition='form-data; name="image"; filename="cat.jpg"', *headers):
    lines = [f"Content-Disposition: {disposition}", *headers]
    return b"--XX\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"


def text(content):
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "IMAGE/PNG", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
def test_a_raw_body_is_one_picture(content_type):
    assert uploads.decode(ONE, content_type) == [ONE]


@pytest.mark.parametrize("content_type", [FORM, 'Multipart/Form-Data; charset=utf-8; boundary="XX"'])
def test_a_form_has_one_picture_or_several(content_type):
    assert uploads.decode(part(ONE) + b"--XX--\r\n", content_type) == [ONE]
    typed = part(TWO, 'form-data; name="x"; filename="b"', "Content-Type: image/png")
    assert uploads.decode(part(ONE) + typed + b"--XX--", content_type) == [ONE, TWO]


def test_a_large_file_of_a_form_is_whole():
    large = bytes(range(256)) * 8192
    assert uploads.decode(part(large) + b"--XX--\r\n", FORM) == [large]


@pytest.mark.parametrize(
    ("document", "pictures"),
    [
        ({"image": text(ONE)}, [ONE]),
        ({"image": f"data:image/png;base64,{text(ONE)}"}, [ONE]),
        ({"images": [text(ONE), text(TWO)]}, [ONE, TWO]),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_json_has_base64(document, pictures, content_type):
    assert uploads.decode(json.dumps(document).encode(), content_type) == pictures


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b"", "image/png", "The body is empty; send a picture, a form with pictures, or JSON"),
        (b"{", "application/json", "The body is not JSON: "),
        (b"[]", "application/json", 'The body must be a JSON object such as {"image": "<base64>"}'),
        (b'{"instances": []}', "application/json", 'The body must be a JSON object such as {"image": "<base64>"}'),
        (b'{"image": "QQ==", "images": []}', "application/json", "The body must be a JSON object such as"),
        (b'{"image": 7}', "application/json", "image: expected base64 of a picture, got 7."),
        (b'{"image": "Q"}', "application/json", 'image: expected base64 of a picture, got "Q".'),
        (b'{"image": "data:image/png,abcd"}', "application/json", 'image: expected base64 of a picture, got "data:'),
        (b'{"images": []}', "application/json", "images: expected a list of base64 strings, got []."),
        (
            b'{"images": ["QQ==", "\xc3\xa4"]}',
            "application/json",
            'images: expected base64 of a picture, got "ä", in row 2',
        ),
        (part(ONE), "multipart/form-data; boundary=\ufffd", "The Content-Type has a character that is not ASCII"),
        (part(ONE) + b"--XX--", "multipart/form-data", "The form can't be read: No boundary given"),
        (b"--YY\r\n", FORM, "The form can't be read: "),
        (b"--XX--\r\n", FORM, "The form has no complete file; send one or several: -F image=@cat.jpg."),
        (part(ONE)[:-10], FORM, "The form"),
        (part(TWO, 'form-data; name="top"') + b"--XX--", FORM, "The form's field 'top' is not a file; send files only"),
        (part(TWO, "form-data", *(f"a{i}: b" for i in range(99))), FORM, "The form can't be read: "),
    ],
)
def test_a_bad_body_is_refused_with_the_reason(body, content_type, problem):
    with pytest.raises(BadRequestError, match=r"^") as caught:
        uploads.decode(body, content_type)

    assert str(caught.value).startswith(problem)


def test_a_form_has_at_most_as_many_pictures_as_are_taken():
    with pytest.raises(BadRequestError, match="Expected 1 to 256 pictures, got more"):
        uploads.decode(part(ONE) * 257 + b"--XX--", FORM)


def test_another_content_type_is_not_supported():
    with pytest.raises(UnsupportedMediaTypeError, match="The Content-Type is text/csv; expected image/"):
        uploads.decode(ONE, "text/csv")
