"""``preprocessing.json`` from the flags of ``python -m export``, checked against the exported model."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG, Signature, read_signatures
from serving.models import export_record
from serving.models.export_record import SourceError
from serving.preprocessing import FILE, fitted
from serving.preprocessing.fitting import fit
from serving.preprocessing.pictures import PictureInput
from serving.preprocessing.recipe import APPLICATIONS, COLOR_MODES, INTERPOLATIONS, Image, Recipe

IMAGENET = "imagenet"

# The flags that describe a picture, each with the member of the file that it sets.
_OF_IMAGE = {
    "color_mode": "color_mode",
    "target_size": "target_size",
    "interpolation": "interpolation",
    "keep_aspect_ratio": "keep_aspect_ratio",
    "preprocess": "preprocess_input",
    "scale": "scale",
    "mean": "mean",
    "std": "std",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    group = parser.add_argument_group("pictures and class names", f"written into {FILE}; docs/pictures.md has details")
    group.add_argument("--image", action="store_true", help="the model takes pictures; implied by the next eight")
    group.add_argument("--preprocess", metavar="NAME", help=f"as preprocess_input of {', '.join(APPLICATIONS)}")
    group.add_argument("--scale", metavar="LOW..HIGH", help="what black and white become: --scale=-1..1")
    group.add_argument("--mean", metavar="N[,N,N]", help="what is subtracted then")
    group.add_argument("--std", metavar="N[,N,N]", help="what the result is divided by")
    group.add_argument("--target-size", metavar="HxW", help="the size in pixels (default: the input's)")
    group.add_argument("--color-mode", choices=COLOR_MODES, help="(default: by the input's channels)")
    group.add_argument("--interpolation", choices=INTERPOLATIONS, help="(default: nearest, as in load_img)")
    group.add_argument("--keep-aspect-ratio", action="store_true", help="cut the edges instead of distorting")
    group.add_argument(
        "--classes",
        metavar="FILE",
        help=f"the names of the classes: one on a line, or JSON; {IMAGENET} for the 1000 of ImageNet",
    )
    group.add_argument("--threshold", metavar="P", help="an output of one value is the second class from this on")


def of(options: argparse.Namespace) -> Recipe | None:
    """Return the recipe that the flags describe, None without one; raises SourceError for an invalid one."""
    image = {
        member: _value(flag, getattr(options, flag)) for flag, member in _OF_IMAGE.items() if getattr(options, flag)
    }
    content: dict[str, Any] = {"image": image} if image or options.image else {}
    if options.classes:
        content["classes"] = _classes(options.classes)
    if options.threshold:
        content["threshold"] = _number(options.threshold)
    try:
        return Recipe.parse(content) if content else None
    except ValueError as error:
        raise SourceError(str(error)) from None


def put(recipe: Recipe | None, folder: Path) -> str:
    """Write a recipe beside its exported model, or check the one that is there; return what to tell the user, if any.

    Raises SourceError where it does not fit the model.
    """
    signatures = read_signatures((folder / export_record.SAVED_MODEL).read_bytes(), SERVE_TAG)
    try:
        if recipe is None:
            fitted.of(folder, signatures)
            return "" if (folder / FILE).exists() else _hint(signatures)
        fit(recipe, signatures)
    except ValueError as error:
        raise SourceError(f"the model is exported, but {FILE} can't be used: {error}") from None
    (folder / FILE).write_text(recipe.to_json(), encoding="utf-8")
    return f"Wrote {FILE}: {_described(recipe)}."


def _described(recipe: Recipe) -> str:
    parts = ["it takes pictures"] if recipe.image else []
    if recipe.classes:
        parts.append(f"{len(recipe.classes)} classes from {recipe.classes[0]} to {recipe.classes[-1]}")
    return ", ".join([*parts, *([f"threshold {recipe.threshold:g}"] if recipe.threshold else [])])


def _hint(signatures: Mapping[str, Signature]) -> str:
    signature = signatures.get(DEFAULT_SIGNATURE)
    specs = list(signature.inputs.values()) if signature else []
    if len(specs) != 1 or len(specs[0].shape or ()) != 4:
        return ""
    try:
        PictureInput.of("", specs[0], Image())
    except ValueError:
        return ""
    return "Its input looks like a picture: add --image, and it takes JPEG files too (docs/pictures.md)."


def _value(flag: str, text: Any) -> Any:
    """Return a flag's text as the member's JSON value."""
    if flag == "scale":
        return [_number(part) for part in text.split("..")]
    if flag == "target_size":
        return [int(part) if part.isdecimal() else part for part in text.lower().split("x")]
    if flag in ("mean", "std"):
        return [_number(part) for part in text.split(",")]
    return text


def _number(text: str) -> float | str:
    """Return a number; a text that is none stays one, so that the check of the member names it."""
    try:
        return float(text)
    except ValueError:
        return text


def _classes(source: str) -> list[Any]:
    if source == IMAGENET:
        return _imagenet()
    try:
        text = Path(source).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"--classes {source} can't be read: {error}") from None
    if not text.lstrip().startswith(("[", "{")):
        return text.splitlines()
    try:
        return _from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        forms = '["cat", "dog"], {"cat": 0, "dog": 1} or {"0": "cat", "1": "dog"}'
        raise SourceError(f"--classes {source} is none of the forms that are read: lines of text, {forms}") from None


def _from_json(content: Any) -> list[Any]:
    """Return names in their order: a list, ``class_indices`` of Keras, or ``imagenet_class_index.json``."""
    if isinstance(content, list):
        return content
    if all(type(value) is int for value in content.values()):
        content = {str(index): name for name, index in content.items()}
    names = [content[str(index)] for index in range(len(content))]
    return [name[1] if isinstance(name, list) else name for name in names]


def _imagenet() -> list[Any]:
    """Return ImageNet's names from KerasHub's source; importing it would need libraries for text."""
    spec = importlib.util.find_spec("keras_hub")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        tree = ast.parse((Path(folder) / "src/utils/imagenet/imagenet_utils.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "IMAGENET_NAMES":
                names = ast.literal_eval(node.value)
                return [names[index][1].replace("_", " ") for index in range(len(names))]
    raise SourceError(
        f"--classes {IMAGENET} needs KerasHub: .venv/bin/pip install --no-deps keras-hub. Or give a file with the names"
    )
