"""Encoded pictures to arrays: decoded and resized by Pillow as ``keras.utils.load_img`` does, then scaled.

Pillow is imported when the first picture comes, so that other models start without it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.engines.signature import Reserve, TensorSpec, shape_text
from serving.errors import BadRequestError
from serving.preprocessing.recipe import COLOR_MODES, Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")

# Limits of one request. A picture of a few kilobytes can unpack to gigabytes; its header says so beforehand.
MAX_PIXELS = 50_000_000
MAX_PICTURES = 256

# What decoding and converting a pixel takes, as measured: of JPEG that is progressive, and twice two frames of WebP.
_PIXEL_BYTES = {"JPEG": 13, "WEBP": 17}
_OTHER_PIXEL_BYTES = 9

# What a value of a row takes: as uint8 twice, as float32, in the input's type, and as a PNG in base64.
_VALUE_BYTES = 16

_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}  # Pillow's names
_DEPTHS = ("I", "I;16")  # grey pictures that load_img does not convert


@dataclass(frozen=True)
class PictureInput:
    """An input that takes pictures: its recipe with nothing left open but the size, and how the values are laid out."""

    name: str
    spec: TensorSpec
    image: Image
    channels_first: bool

    @classmethod
    def of(cls, name: str, spec: TensorSpec, image: Image) -> PictureInput:
        """Complete a recipe by what the input's shape says; raises ValueError where they contradict each other."""
        image = image.expanded()
        if spec.dtype.kind not in "fuiV":
            raise ValueError(f"input {name!r} has dtype {spec.dtype_name}; pictures become numbers")
        is_scaled = image.scale is not None or image.mean is not None or image.std is not None
        if spec.dtype.kind in "ui" and is_scaled:
            raise ValueError(f"input {name!r} has dtype {spec.dtype_name}, so its values can't be scaled")
        height, width, channels, channels_first = _layout(spec, image)
        size = image.target_size or ((height, width) if height and width else None)
        modes = {number: mode for mode, number in COLOR_MODES.items()}
        mode = image.color_mode or modes.get(channels or COLOR_MODES["rgb"])
        got, wanted = (*(size or (height, width)), COLOR_MODES.get(str(mode))), (height, width, channels)
        if any(a is not None and b is not None and a != b for a, b in zip(got, wanted, strict=True)) or mode is None:
            raise ValueError(
                f"a picture of color_mode {mode} and target_size {list(size) if size else None} does not fit input "
                f"{name!r} of shape {shape_text(spec.shape)}"
            )
        _check_channels(image, COLOR_MODES[mode])
        complete = Image(**{**vars(image), "color_mode": mode, "target_size": size})
        return cls(name, spec, complete, channels_first)

    def decode(self, pictures: Sequence[bytes], reserve: Reserve) -> np.ndarray:
        """Return encoded pictures as the input's array; raises what ``pixels`` does."""
        return self.rows(self.pixels(pictures, reserve))

    def rows(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels as the input's array: scaled, and laid out as the model wants them."""
        rows = pixels.astype(np.float32) if self.spec.dtype.kind not in "ui" else pixels
        rows = _scaled(rows, self.image).astype(self.spec.dtype, copy=False)
        if self.channels_first:
            rows = np.moveaxis(rows, -1, 1)
        row_shape = (self.spec.shape or (None,) * 4)[1:]
        if None not in row_shape:
            rows = rows.reshape(len(rows), *[size for size in row_shape if size is not None])
        return np.ascontiguousarray(rows)

    def pixels(self, pictures: Sequence[bytes], reserve: Reserve) -> np.ndarray:
        """Return pictures as the model sees them before scaling: uint8 [pictures, height, width, channels].

        ``reserve`` is asked for the memory of each before it is decoded, and given back what only decoding took. Raises
        what it does, or BadRequestError with the picture's number.
        """
        if not 0 < len(pictures) <= MAX_PICTURES:
            raise BadRequestError(f"Expected 1 to {MAX_PICTURES} pictures, got {len(pictures)}.", input=self.name)
        left, decoder_bytes, rows = MAX_PIXELS, 0, []
        for number, content in enumerate(pictures, 1):
            try:
                picture = _open(content, left)
                # What a decoder took is free for the next one; the rows stay.
                needed = max(decoder_bytes, _decoder_bytes(picture))
                reserve(needed - decoder_bytes + self._row_bytes(picture))
                row = _read(picture, self.image)
            except ValueError as error:
                raise BadRequestError(f"Picture {number} {error}.", picture=number) from None
            left -= picture.width * picture.height
            decoder_bytes = needed
            rows.append(row)
            _check_size(number, row, rows[0])
        reserve(-decoder_bytes)
        return np.stack(rows)

    def _row_bytes(self, picture: Picture) -> int:
        height, width = self.image.target_size or picture.size
        return height * width * COLOR_MODES[str(self.image.color_mode)] * _VALUE_BYTES


def png(pixels: np.ndarray) -> bytes:
    """Return uint8 [height, width, channels] as a PNG."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "png")
    return file.getvalue()


def _layout(spec: TensorSpec, image: Image) -> tuple[int | None, int | None, int | None, bool]:
    """Return height, width and channels of one row, None for what is open, and whether the channels come first."""
    counts = COLOR_MODES.values()
    match (None, None, None) if spec.shape is None else spec.shape[1:]:
        case (height, width, channels) if channels in counts:
            return height, width, channels, False
        case (channels, height, width) if channels in counts:
            return height, width, channels, True
        case (height, width, None):
            return height, width, None, False
        case (height, width):
            return height, width, 1, False
        case (int(length),) if image.target_size and length % (image.target_size[0] * image.target_size[1]) == 0:
            return *image.target_size, length // (image.target_size[0] * image.target_size[1]), False
    raise ValueError(f"an input of shape {shape_text(spec.shape)} can't take a picture of the size that is given")


def _check_channels(image: Image, channels: int) -> None:
    for name in ("mean", "std"):
        numbers = getattr(image, name)
        if numbers is not None and len(numbers) not in (1, channels):
            member = "preprocess_input" if image.preprocess_input else name
            raise ValueError(f"image.{member} is for {len(numbers)} channels; the picture has {channels}")


def _scaled(array: np.ndarray, image: Image) -> np.ndarray:
    """Scale float32 values from 0 to 255 in place, in the order and with the rounding of ``preprocess_input``."""
    if image.is_bgr:
        array = array[..., ::-1]
    if image.scale is not None:
        low, high = image.scale
        array /= np.float32(255 / (high - low))
        array += np.float32(low)
    if image.mean is not None:
        array -= np.array(image.mean, np.float32)
    if image.std is not None:
        array /= np.array(image.std, np.float32)
    return array


def _check_size(number: int, row: np.ndarray, first: np.ndarray) -> None:
    if row.shape != first.shape:
        raise BadRequestError(
            f"Picture {number} is {row.shape[1]} x {row.shape[0]} pixels, unlike the first, which is "
            f"{first.shape[1]} x {first.shape[0]}; this model takes pictures of any size, one size a request.",
            picture=number,
        )


def _decoder_bytes(picture: Picture) -> int:
    return picture.width * picture.height * _PIXEL_BYTES.get(str(picture.format), _OTHER_PIXEL_BYTES)


def _read(picture: Picture, image: Image) -> np.ndarray:
    """Return a picture as uint8 [height, width, channels]; raises ValueError."""
    try:
        picture = _resized(_converted(picture, str(image.color_mode)), image)
    except Exception as error:  # Pillow's decoders raise many types
        raise ValueError(f"is damaged: {_reason(error)}") from None
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8:
        raise ValueError(f"has {pixels.dtype.itemsize * 8} bits a channel; expected 8")
    return pixels.reshape(*pixels.shape[:2], -1)


def _open(content: bytes, max_pixels: int) -> Picture:
    """Read a picture's header; raises ValueError where it is none, or larger than that."""
    picture = _header(content)
    width, height = picture.size
    if width * height > max_pixels:
        raise ValueError(
            f"is {width} x {height} pixels; the limit for all pictures of a request is {MAX_PIXELS} pixels"
        )
    return picture


def _header(content: bytes) -> Picture:
    from PIL import (  # noqa: F401
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        UnidentifiedImageError,
        WebPImagePlugin,
    )
    from PIL import Image as Pillow

    Pillow.MAX_IMAGE_PIXELS = None  # the limit here is lower, and an error instead of a warning
    try:
        return Pillow.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:
        if not isinstance(error, UnidentifiedImageError):
            raise ValueError(f"is damaged: {_reason(error)}") from None
        if not content:
            raise ValueError("is empty") from None
        raise ValueError(f"is not a picture in a format that is read: {', '.join(FORMATS)}") from None


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")[:100] or type(error).__name__


def _converted(picture: Picture, color_mode: str) -> Picture:
    """Decode and convert as load_img does. EXIF's orientation is ignored, and so are all frames but the first."""
    picture.load()
    mode = _MODES[color_mode]
    return picture if picture.mode == mode or (mode == "L" and picture.mode in _DEPTHS) else picture.convert(mode)


def _resized(picture: Picture, image: Image) -> Picture:
    if image.target_size is None or picture.size == image.target_size[::-1]:
        return picture
    from PIL.Image import Resampling

    height, width = image.target_size
    resample = Resampling[image.interpolation.upper()]
    return picture.resize((width, height), resample, box=_centre(picture.size, width, height, image))


def _centre(size: tuple[int, int], width: int, height: int, image: Image) -> Any:
    """Return the largest box in the centre with the target's aspect ratio; None unless that is to be kept."""
    if not image.keep_aspect_ratio:
        return None
    box_width = min(size[0], size[1] * width // height)
    box_height = min(size[1], size[0] * height // width)
    left, top = (size[0] - box_width) // 2, (size[1] - box_height) // 2
    return left, top, left + box_width, top + box_height
