"""Pictures in a request's body: as they are, in a form (``multipart/form-data``), or as base64 in JSON."""

from __future__ import annotations

import binascii
import io
from typing import TYPE_CHECKING, Any

from serving.engines.signature import Reserve
from serving.errors import BadRequestError, UnsupportedMediaTypeError
from serving.preprocessing.pictures import MAX_PICTURES
from serving.wire import json_tensors

if TYPE_CHECKING:
    from python_multipart.multipart import Field, File

_JSON_EXAMPLE = '{"image": "<base64>"} or {"images": ["<base64>", ...]}'
_FORM = "multipart/form-data"

# Bodies that are one picture. The last is what curl sends where nobody says what the body is.
_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")


def decode(body: bytes, content_type: str, reserve: Reserve = json_tensors.free) -> list[bytes]:
    """Return the encoded pictures in a body; raises BadRequestError, or UnsupportedMediaTypeError.

    ``reserve`` is asked for the memory of JSON's values.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if not body:
        raise BadRequestError(
            f"The body is empty; send a picture, a form with pictures, or JSON such as {_JSON_EXAMPLE}."
        )
    if media_type == _FORM:
        return _from_form(body, content_type)
    if media_type in ("application/json", "text/json"):
        return _from_json(json_tensors.parse(body, reserve))
    if media_type in _RAW or media_type.startswith("image/"):
        return [body]
    raise UnsupportedMediaTypeError(
        f"The Content-Type is {content_type[:60]}; expected image/*, {_FORM} or application/json."
    )


def from_base64(text: Any, name: str, index: int, shape: tuple[int, ...]) -> bytes:
    """Return the bytes of a base64 string, which may be a ``data:`` URL; raises BadRequestError with its place."""
    try:
        if not text.startswith("data:"):
            return binascii.a2b_base64(text, strict_mode=True)
        head, _, data = text.partition(",")
        if head.endswith(";base64"):
            return binascii.a2b_base64(data, strict_mode=True)
    except (ValueError, AttributeError):  # binascii.Error is a ValueError
        pass
    raise json_tensors.wrong_value("base64 of a picture", text, name, index, shape)


def _from_json(document: Any) -> list[bytes]:
    if type(document) is not dict or len(document) != 1 or next(iter(document)) not in ("image", "images"):
        raise BadRequestError(f"The body must be a JSON object such as {_JSON_EXAMPLE}.")
    [(name, value)] = document.items()
    if name == "image":
        return [from_base64(value, name, 0, ())]
    if type(value) is not list or not value:
        raise BadRequestError(f"images: expected a list of base64 strings, got {json_tensors.quote(value)}.")
    return [from_base64(text, name, index, (len(value),)) for index, text in enumerate(value)]


def _from_form(body: bytes, content_type: str) -> list[bytes]:
    # Imported here, so that requests without forms do without it.
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import FormParser, parse_options_header

    try:
        _, options = parse_options_header(content_type)
    except UnicodeError:
        raise BadRequestError("The Content-Type has a character that is not ASCII.") from None
    files: list[bytes] = []

    def take(file: File) -> None:
        if len(files) == MAX_PICTURES:
            raise BadRequestError(f"Expected 1 to {MAX_PICTURES} pictures, got more.")
        with io.BytesIO() as copy:
            file.file_object.seek(0)
            copy.write(file.file_object.read())
            files.append(copy.getvalue())

    def refuse(field: Field) -> None:
        name = (field.field_name or b"").decode(errors="replace")[:60]
        raise BadRequestError(f"The form's field {name!r} is not a file; send files only: -F image=@cat.jpg.")

    try:
        parser = FormParser(
            _FORM, refuse, take, boundary=options.get(b"boundary"), config={"MAX_MEMORY_FILE_SIZE": len(body)}
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadRequestError(f"The form can't be read: {error}.") from None
    if not files:
        raise BadRequestError("The form has no complete file; send one or several: -F image=@cat.jpg.")
    return files
