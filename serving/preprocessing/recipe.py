"""``preprocessing.json`` beside a model: how a picture becomes its input, and what its classes are called.

The members are those of ``Image`` and ``Recipe``; ``docs/pictures.md`` describes them. Names and values are those of
``keras.utils.load_img`` and ``keras.applications`` wherever these have one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serving.preprocessing import FILE

COLOR_MODES = {"grayscale": 1, "rgb": 3, "rgba": 4}  # each with its number of channels
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "hamming", "box")

# What preprocess_input does in each mode (keras/src/applications/imagenet_utils.py), as members of the file.
_MODES: dict[str, dict[str, Any]] = {
    "none": {},
    "tf": {"scale": (-1.0, 1.0)},
    "torch": {"scale": (0.0, 1.0), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "caffe": {"mean": (103.939, 116.779, 123.68)},  # of blue, green and red
}

# The mode of each module of keras.applications. Those with "none" scale within the model.
APPLICATIONS = {
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"), "none"),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2", "nasnet"), "tf"),
    **dict.fromkeys(("resnet_v2", "xception"), "tf"),
    **dict.fromkeys(("resnet", "resnet50", "vgg16", "vgg19"), "caffe"),
    "densenet": "torch",
}

_MAX_BYTES = 4 * 1024 * 1024
_MAX_SIDE = 8192  # pixels of a target size


@dataclass(frozen=True)
class Image:
    """How a picture becomes an input: decoded and resized as by ``load_img``, then scaled.

    Values from 0 to 255 are mapped to the range ``scale``; then ``mean`` is subtracted, and the result divided by
    ``std``. ``preprocess_input`` does that as ``keras.applications`` does. What is None follows from the model's input.
    """

    input: str | None = None
    color_mode: str | None = None
    target_size: tuple[int, int] | None = None
    interpolation: str = "nearest"
    keep_aspect_ratio: bool = False
    preprocess_input: str | None = None
    scale: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def is_bgr(self) -> bool:
        """Whether blue comes first, as in Caffe's models."""
        return self.preprocess_input == "caffe"

    def expanded(self) -> Image:
        """Return the same with ``preprocess_input`` as one of its modes, and what that does as the other members."""
        if self.preprocess_input is None:
            return self
        mode = APPLICATIONS.get(self.preprocess_input, self.preprocess_input)
        return replace(self, preprocess_input=mode, **_MODES[mode])


@dataclass(frozen=True)
class Recipe:
    """The whole file: the picture, and the names of the classes in the order of the output's values.

    ``output`` names the output with the scores, where there are several. With ``threshold``, the only value of the
    output is the score of the second of two classes.
    """

    image: Image | None = None
    output: str | None = None
    classes: tuple[str, ...] = ()
    threshold: float | None = None

    @classmethod
    def read(cls, folder: Path) -> Recipe | None:
        """Return the recipe in a model's folder, None if there is none; raises ValueError with the member."""
        path = folder / FILE
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
            return cls.parse(json.loads(path.read_text(encoding="utf-8-sig")))
        except FileNotFoundError:
            return None
        except RecursionError:
            raise ValueError(f"{path}: it is nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, content: Any) -> Recipe:
        """Return the recipe that a JSON value describes; raises ValueError with the member."""
        members = _members(content, _RECIPE, "")
        if members.get("image") is not None:
            members["image"] = _image(members["image"])
        recipe = cls(**members)
        if recipe.threshold is not None and recipe.classes and len(recipe.classes) != 2:
            raise ValueError(f"threshold is for 2 classes; classes has {len(recipe.classes)}")
        return recipe

    def to_json(self) -> str:
        """Return the content of the file; members that have their default are left out."""
        content = _changed(asdict(self), asdict(Recipe()))
        if self.image is not None:
            content["image"] = _changed(asdict(self.image), asdict(Image()))
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _changed(members: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value != defaults[name]}


def _image(content: Any) -> Image:
    image = Image(**_members(content, _IMAGE, "image."))
    scaled = [name for name in ("scale", "mean", "std") if getattr(image, name) is not None]
    if image.preprocess_input is not None and scaled:
        raise ValueError(f"image.preprocess_input already does what image.{scaled[0]} would do; keep one of them")
    if image.std is not None and 0 in image.std:
        raise ValueError("image.std: expected numbers other than 0")
    return image


Check = Callable[[Any], Any]


def _members(content: Any, known: Mapping[str, tuple[Check, str]], prefix: str) -> dict[str, Any]:
    """Return the members of a JSON object by their checks; null counts as absent. Raises ValueError."""
    if type(content) is not dict:
        raise ValueError(f"{prefix.rstrip('.') or 'it'} must be a JSON object")
    members = {}
    for name, value in content.items():
        if name not in known:
            raise ValueError(f"{prefix}{name} is not known; the members are {', '.join(known)}")
        if value is None:
            continue
        check, expected = known[name]
        try:
            members[name] = check(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{prefix}{name}: expected {expected}, got {json.dumps(value)[:60]}") from None
    return members


def _is(kind: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError
        return value

    return check


def _one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return check


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:
    """Return a number for all channels, or one for each."""
    values = value if type(value) is list else [value]
    if len(values) not in COLOR_MODES.values():
        raise ValueError
    return tuple(map(_number, values))


def _range(value: Any) -> tuple[float, float]:
    low, high = map(_number, _is(list)(value))
    if low == high:
        raise ValueError
    return low, high


def _size(value: Any) -> tuple[int, int]:
    height, width = map(_is(int), _is(list)(value))
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise ValueError
    return height, width


def _share(value: Any) -> float:
    if not 0 < _number(value) < 1:
        raise ValueError
    return float(value)


def _names(value: Any) -> tuple[str, ...]:
    names = tuple(map(_is(str), _is(list)(value)))
    if len(names) < 2 or not all(name.strip() for name in names):
        raise ValueError
    return names


# Each member, with the function that checks it and what that expects.
_RECIPE: dict[str, tuple[Check, str]] = {
    "image": (_is(dict), "a JSON object"),
    "output": (_is(str), "the name of an output"),
    "classes": (_names, "a list of 2 or more names"),
    "threshold": (_share, "a number between 0 and 1"),
}
_IMAGE: dict[str, tuple[Check, str]] = {
    "input": (_is(str), "the name of an input"),
    "color_mode": (_one_of(*COLOR_MODES), f"one of {', '.join(COLOR_MODES)}"),
    "target_size": (_size, f"a height and a width of 1 to {_MAX_SIDE} pixels, such as [224, 224]"),
    "interpolation": (_one_of(*INTERPOLATIONS), f"one of {', '.join(INTERPOLATIONS)}"),
    "keep_aspect_ratio": (_is(bool), "true or false"),
    "preprocess_input": (
        _one_of(*_MODES, *APPLICATIONS),
        f"a mode ({', '.join(_MODES)}) or a module of keras.applications ({', '.join(APPLICATIONS)})",
    ),
    "scale": (_range, "two different numbers, such as [-1, 1]"),
    "mean": (_numbers, "a number, or a list with one for each channel"),
    "std": (_numbers, "a number, or a list with one for each channel"),
}
