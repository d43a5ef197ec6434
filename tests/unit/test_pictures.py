"""Pictures to arrays: pixel for pixel as keras.utils.load_img, scaled as keras.applications, within limits."""

import importlib
import io
import json
import pkgutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from serving.errors import BadRequestError, BusyError
from serving.preprocessing import pictures
from serving.preprocessing.pictures import PictureInput
from serving.preprocessing.recipe import APPLICATIONS, COLOR_MODES, INTERPOLATIONS, Image
from serving.wire.json_tensors import free
from tests.unit.picture_files import FORMATS, encoded, pixels, spec


def picture_input(row, dtype="float32", **members):
    return PictureInput.of("x", spec(*row, dtype=dtype), Image(**members))


@pytest.fixture(scope="module")
def load_img():
    import keras

    return lambda content, **options: keras.utils.img_to_array(keras.utils.load_img(io.BytesIO(content), **options))


@pytest.mark.parametrize("keep_aspect_ratio", [False, True])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("color_mode", COLOR_MODES)
def test_pixels_are_those_of_load_img(load_img, color_mode, interpolation, keep_aspect_ratio):
    options = {"color_mode": color_mode, "interpolation": interpolation, "keep_aspect_ratio": keep_aspect_ratio}
    for height, width in [(6, 9), (20, 20), (31, 8)]:
        taken = picture_input((height, width, COLOR_MODES[color_mode]), **options)
        for file_format in FORMATS:
            content = encoded(pixels(23, 17), file_format)
            expected = load_img(content, target_size=(height, width), **options)
            np.testing.assert_array_equal(taken.decode([content], free), expected[np.newaxis], err_msg=file_format)


@pytest.mark.parametrize("color_mode", COLOR_MODES)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_a_picture_of_any_mode_is_converted_as_by_load_img(load_img, mode, color_mode):
    file = io.BytesIO()
    Pillow.fromarray(pixels()).convert(mode).save(file, "jpeg" if mode in ("CMYK", "YCbCr") else "png")

    array = picture_input((7, 5, COLOR_MODES[color_mode])).decode([file.getvalue()], free)

    np.testing.assert_array_equal(array[0], load_img(file.getvalue(), color_mode=color_mode))


def test_orientation_and_further_frames_are_ignored_as_by_load_img(load_img):
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    turned = encoded(pixels(7, 5), "jpeg", exif=exif)
    frames = io.BytesIO()
    first, second = (Pillow.fromarray(pixels(seed=seed)) for seed in (1, 2))
    first.save(frames, "gif", save_all=True, append_images=[second])

    for content in (turned, frames.getvalue()):
        np.testing.assert_array_equal(picture_input((7, 5, 3)).decode([content], free)[0], load_img(content))


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(importlib.import_module("keras.applications").__path__)]
)
def test_values_are_those_of_every_preprocess_input_of_keras(name):
    module = importlib.import_module(f"keras.applications.{name}")
    content = encoded(pixels(8, 8))
    if name == "imagenet_utils":
        expected = {mode: module.preprocess_input(pixels(8, 8), mode=mode) for mode in ("tf", "torch", "caffe")}
    else:
        expected = {name: module.preprocess_input(pixels(8, 8).astype(np.float32))}

    for preprocess_input, values in expected.items():
        array = picture_input((8, 8, 3), preprocess_input=preprocess_input).decode([content], free)
        np.testing.assert_array_equal(array[0], values)


def test_every_module_of_the_table_is_one_of_keras():
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module("keras.applications").__path__)}

    assert set(APPLICATIONS) == modules - {"imagenet_utils"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"scale": (0.0, 1.0)}, lambda x: x / np.float32(255)),
        ({"scale": (1.0, 0.0)}, lambda x: 1 - x / np.float32(255)),
        ({"mean": (127.5,), "std": (127.5,)}, lambda x: (x - 127.5) / 127.5),
        ({"mean": (1.0, 2.0, 3.0)}, lambda x: x - np.array([1, 2, 3])),
        ({"scale": (0.0, 1.0), "mean": (0.5,), "std": (0.25,)}, lambda x: (x / 255 - 0.5) / 0.25),
        ({}, lambda x: x),
    ],
)
def test_values_are_scaled_then_centred_then_divided(members, expected):
    array = picture_input((7, 5, 3), **members).decode([encoded(pixels())], free)

    assert array.dtype == np.float32
    np.testing.assert_allclose(array[0], expected(pixels().astype(np.float64)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("row", "members", "expected"),
    [
        ((7, 5, 3), {}, pixels()),
        ((3, 7, 5), {}, pixels().transpose(2, 0, 1)),
        ((7, 5, 1), {}, pixels(channels=1)[..., None]),
        ((7, 5), {}, pixels(channels=1)),
        ((35,), {"target_size": (7, 5)}, pixels(channels=1).ravel()),
        ((105,), {"target_size": (7, 5)}, pixels().ravel()),
        ((None, None, 3), {}, pixels()),
        ((None, None, 1), {"target_size": (7, 5)}, pixels(channels=1)[..., None]),
        ((None, None, None), {"color_mode": "grayscale"}, pixels(channels=1)[..., None]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
def test_rows_are_laid_out_as_the_input_wants_them(row, members, expected, dtype):
    content = encoded(pixels(channels=1 if expected.size == 35 else 3))

    array = picture_input(row, dtype, **members).decode([content, content], free)

    assert array.dtype == dtype
    np.testing.assert_array_equal(array, [expected, expected])


@pytest.mark.parametrize(
    ("row", "members", "problem"),
    [
        ((7, 5, 3), {"color_mode": "grayscale"}, "color_mode grayscale and target_size [7, 5] does not fit input 'x'"),
        ((7, 5, 3), {"target_size": (7, 6)}, "target_size [7, 6] does not fit input 'x' of shape [?, 7, 5, 3]"),
        ((2,), {}, "an input of shape [?, 2] can't take a picture"),
        ((36,), {"target_size": (7, 5)}, "an input of shape [?, 36] can't take a picture"),
        ((70,), {"target_size": (7, 5)}, "does not fit input 'x' of shape [?, 70]"),
        ((7, 5, 1), {"preprocess_input": "vgg16"}, "image.preprocess_input is for 3 channels; the picture has 1"),
        ((7, 5, 1), {"std": (1.0, 2.0, 3.0)}, "image.std is for 3 channels; the picture has 1"),
    ],
)
def test_a_recipe_that_does_not_fit_the_input_is_refused(row, members, problem):
    with pytest.raises(ValueError, match=r"^") as caught:
        picture_input(row, **members)

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "problem"), [("uint8", "so its values can't be scaled"), ("string", "become numbers")]
)
def test_an_input_of_another_type_is_refused(dtype, problem):
    with pytest.raises(ValueError, match=problem):
        picture_input((7, 5, 3), dtype, scale=(0.0, 1.0))


def png_that_claims(width, height):
    """Return a PNG of a few bytes whose header states any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Picture 2 is empty."),
        (b"not a picture", "Picture 2 is not a picture in a format that is read: JPEG, PNG, GIF, BMP, WEBP."),
        (encoded(pixels(), "tiff"), "Picture 2 is not a picture in a format that is read"),
        (encoded(pixels(50, 50), "jpeg")[:-500], "Picture 2 is damaged: image file is truncated"),
        (png_that_claims(100_000, 100_000), "Picture 2 is 100000 x 100000 pixels; the limit for all pictures"),
        (png_that_claims(10_000, 5_000), "Picture 2 is 10000 x 5000 pixels; the limit for all pictures"),
        (png_that_claims(20, 20), "Picture 2 is damaged: "),
        (encoded(np.zeros((2, 2), np.uint16)), "Picture 2 has 16 bits a channel; expected 8."),
    ],
)
def test_a_bad_picture_is_refused_with_its_number(content, problem):
    taken = picture_input((2, 2, 1))

    with pytest.raises(BadRequestError) as caught:
        taken.decode([encoded(pixels()), content], free)

    assert str(caught.value).startswith(problem)
    assert caught.value.extra == {"picture": 2}


def test_the_limit_of_pixels_is_for_the_whole_request(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    taken, content = picture_input((2, 2, 3)), encoded(pixels(5, 10))

    assert taken.decode([content, content], free).shape == (2, 2, 2, 3)
    with pytest.raises(BadRequestError, match="Picture 3 is 10 x 5 pixels"):
        taken.decode([content, content, content], free)


def test_the_number_of_pictures_is_limited():
    content = encoded(pixels(1, 1))

    with pytest.raises(BadRequestError, match="Expected 1 to 256 pictures, got 257"):
        picture_input((1, 1, 3)).decode([content] * 257, free)


def test_memory_is_asked_for_before_a_picture_is_decoded():
    taken = picture_input((2, 2, 3))
    asked: list[int] = []
    asked_of_one: list[int] = []
    with pytest.raises(BadRequestError, match="Picture 3 is damaged"):  # so the third has been asked for too
        taken.decode([encoded(pixels(30, 20)), encoded(pixels(20, 20)), png_that_claims(30, 30)], asked.append)

    row = 2 * 2 * 3 * 16
    taken.decode([encoded(pixels(30, 20))], asked_of_one.append)
    assert asked_of_one == [600 * 9 + row, -600 * 9]  # the row stays
    assert asked == [600 * 9 + row, row, 300 * 9 + row]  # a decoder's memory is free for the next picture

    def refuse(size):
        raise BusyError("no memory", 1)

    with pytest.raises(BusyError, match="no memory"):
        taken.decode([png_that_claims(30, 30)], refuse)


MEASURE = """
import json, resource, sys
from pathlib import Path
from serving.engines.signature import TensorSpec
from serving.preprocessing import pictures
from serving.preprocessing.recipe import Image
import numpy as np

def memory(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024

shape = json.loads(sys.argv[2])
spec = TensorSpec("x:0", 1, np.dtype("float32"), "float32", (None, *shape))
taken, asked = pictures.PictureInput.of("x", spec, Image()), []
content = Path(sys.argv[1]).read_bytes()
pictures._open(content, pictures.MAX_PIXELS)  # imports Pillow
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS")
array, = taken.decode([content], asked.append)
print(json.dumps([memory("VmHWM") - before, max(asked)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux has it")
@pytest.mark.parametrize("shape", [(64, 64, 3), (None, None, 4)])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("jpeg", {"progressive": True, "subsampling": 0}), ("png", {}), ("gif", {}), ("bmp", {}), ("webp", {})],
)
def test_decoding_takes_no_more_memory_than_was_asked_for(tmp_path, file_format, options, shape):
    file = tmp_path / "picture"
    file.write_bytes(encoded(np.tile(pixels(10, 10), (100, 200, 1)), file_format, **options))

    out = subprocess.run([sys.executable, "-c", MEASURE, file, json.dumps(shape)], check=True, capture_output=True)

    taken, asked = json.loads(out.stdout)
    assert taken <= asked + 2_000_000
    assert taken > 4 * 2_000_000  # that many pixels were decoded


def test_pictures_of_an_open_size_must_have_the_same_one():
    with pytest.raises(BadRequestError, match="Picture 2 is 6 x 7 pixels, unlike the first, which is 5 x 7"):
        picture_input((None, None, 3)).decode([encoded(pixels()), encoded(pixels(7, 6))], free)


def test_damaged_pictures_of_every_format_are_refused_or_read():
    random = np.random.default_rng(0)
    for file_format in FORMATS:
        original = np.frombuffer(encoded(pixels(40, 40), file_format), np.uint8)
        for _ in range(100):
            content = original.copy()
            content[random.integers(0, len(content), 5)] = random.integers(0, 256, 5)
            try:
                assert picture_input((4, 4, 3)).decode([content.tobytes()], free).shape == (1, 4, 4, 3)
            except BadRequestError as error:
                assert str(error).startswith("Picture 1 ")  # noqa: PT017


def test_what_the_model_sees_can_be_shown():
    shown = pictures.png(picture_input((3, 4, 1)).pixels([encoded(pixels())], free)[0])

    assert Pillow.open(io.BytesIO(shown)).size == (4, 3)


def test_pillow_is_imported_with_the_first_picture():
    script = """
import sys
from serving.preprocessing import pictures
import serving.endpoints.classify, serving.http
assert "PIL" not in sys.modules and "python_multipart" not in sys.modules
pictures._open(bytes.fromhex("{}"), 100)
assert "PIL" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script.format(encoded(pixels()).hex())], check=True)
