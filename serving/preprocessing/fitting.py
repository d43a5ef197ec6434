"""A recipe fitted to its model: which input takes pictures, and which output has the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from serving.engines.signature import DEFAULT_SIGNATURE, Signature
from serving.preprocessing.classification import Classifier
from serving.preprocessing.pictures import PictureInput
from serving.preprocessing.recipe import FILE, Image, Recipe


@dataclass(frozen=True)
class Preprocessing:
    """A recipe that fits its model: the input that takes pictures, and the meaning of the scores; None without one."""

    picture: PictureInput | None = None
    classifier: Classifier | None = None

    def described(self, signatures: Mapping[str, Signature]) -> dict[str, Signature]:
        """Return a model's signatures, of which the default one takes pictures where the recipe has them."""
        described = dict(signatures)
        if self.picture is not None:
            signature = described[DEFAULT_SIGNATURE]
            spec = replace(self.picture.spec, decode=self.picture.decode)
            described[DEFAULT_SIGNATURE] = replace(signature, inputs={**signature.inputs, self.picture.name: spec})
        return described


NONE = Preprocessing()


def of(folder: Path, signatures: Mapping[str, Signature]) -> Preprocessing:
    """Return what the file in a model's folder says; raises ValueError where it is wrong or does not fit the model."""
    recipe = Recipe.read(folder)
    if recipe is None:
        return NONE
    try:
        return fitted(recipe, signatures)
    except ValueError as error:
        raise ValueError(f"{folder / FILE}: {error}") from None


def fitted(recipe: Recipe, signatures: Mapping[str, Signature]) -> Preprocessing:
    """Return a recipe as it applies to a model; raises ValueError where it does not fit the model's signature."""
    if DEFAULT_SIGNATURE not in signatures:
        raise ValueError(f"it is for the signature {DEFAULT_SIGNATURE}; the model has {', '.join(signatures)}")
    signature = signatures[DEFAULT_SIGNATURE]
    classifier = None
    if recipe.classes or recipe.output or recipe.threshold:
        classifier = Classifier.of(signature.outputs, recipe.output, recipe.classes, recipe.threshold)
    return Preprocessing(_picture(recipe.image, signature) if recipe.image else None, classifier)


def _picture(image: Image, signature: Signature) -> PictureInput:
    names = ", ".join(signature.inputs)
    if image.input is None and len(signature.inputs) != 1:
        raise ValueError(f"image.input must say which input takes the picture; the model has {names}")
    name = image.input or next(iter(signature.inputs))
    if name not in signature.inputs:
        raise ValueError(f"image.input is {name!r}; the model has {names}")
    return PictureInput.of(name, signature.inputs[name], image)
